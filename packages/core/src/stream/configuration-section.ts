import { streamErrors } from "../errors/stream-errors.ts";
import { encodeName, pageBits, sectionType } from "./format.ts";
import type { StreamReader } from "./stream-reader.ts";
import type { StreamWriter } from "./stream-writer.ts";

/** What the stream says about the machine in front of everything else. */
export interface StreamConfiguration {
  /** The machine type. */
  readonly machine: string;
  /** The capabilities that shape the stream and are on. */
  readonly capabilities: readonly string[];
  /** 16 bytes; only with validate-uuid. */
  readonly uuid?: Uint8Array;
}

const capabilitiesName = "configuration/capabilities";
const uuidName = "configuration/uuid";
const pageBitsName = "configuration/target-page-bits";

export function writeConfiguration(writer: StreamWriter, { machine, capabilities, uuid }: StreamConfiguration): void {
  const name = encodeName(machine);
  writer.u8(sectionType.configuration);
  writer.u32(name.length);
  writer.bytes(name);
  if (capabilities.length > 0) {
    beginSubsection(writer, capabilitiesName);
    writer.u32(capabilities.length);
    for (const capability of capabilities) {
      writer.name(capability);
    }
  }
  if (uuid !== undefined) {
    beginSubsection(writer, uuidName);
    writer.bytes(uuid);
  }
}

function beginSubsection(writer: StreamWriter, name: string): void {
  writer.u8(sectionType.subsection);
  writer.name(name);
  writer.u32(1);
}

/** The `configuration` key of the vmdescription. */
export function describeConfiguration({ machine, capabilities, uuid }: StreamConfiguration): unknown {
  const subsections: unknown[] = [];
  if (capabilities.length > 0) {
    const array = capabilities.length > 1 ? { array_len: capabilities.length } : {};
    subsections.push({
      vmsd_name: capabilitiesName,
      version: 1,
      fields: [
        { name: "caps_count", type: "uint32", size: 4 },
        { name: "capabilities", ...array, type: "capability", size: 10 },
      ],
    });
  }
  if (uuid !== undefined) {
    subsections.push({ vmsd_name: uuidName, version: 1, fields: [{ name: "uuid", type: "buffer", size: 16 }] });
  }
  return {
    vmsd_name: "configuration",
    version: 1,
    fields: [
      { name: "len", type: "uint32", size: 4 },
      { name: "name", type: "buffer", size: encodeName(machine).length },
    ],
    ...(subsections.length === 0 ? {} : { subsections }),
  };
}

/** @param capabilities - is given the capabilities, so that they are known also if something unknown follows them. */
export async function readConfiguration(
  reader: StreamReader,
  capabilities: string[] = [],
): Promise<StreamConfiguration> {
  await reader.need(5);
  const type = reader.u8();
  if (type !== sectionType.configuration) {
    throw reader.error(
      `Configuration section missing, ${type.toString(16)} != ${sectionType.configuration.toString(16)}`,
    );
  }
  const length = reader.u32();
  if (length === 0 || length > 255) {
    throw reader.error(`the name of the machine type has ${length} bytes`);
  }
  const machine = await reader.text(length);
  let uuid: Uint8Array | undefined;
  for (;;) {
    await reader.need(1);
    if (reader.peek() !== sectionType.subsection) {
      return { machine, capabilities, ...(uuid === undefined ? {} : { uuid }) };
    }
    reader.u8();
    const name = await reader.name();
    await reader.need(4);
    const version = reader.u32();
    if (version > 1) {
      throw streamErrors.ERR_CPR_STREAM_NEWER({ what: name, version, supported: 1 });
    }
    if (version === 0) {
      throw reader.error(`unsupported version 0 of '${name}'`);
    }
    if (name === capabilitiesName) {
      await reader.need(4);
      const count = reader.u32();
      if (count > 64) {
        throw reader.error(`${count} capabilities`);
      }
      for (let index = 0; index < count; index++) {
        capabilities.push(await reader.name());
      }
    } else if (name === uuidName) {
      await reader.need(16);
      uuid = reader.window(16).slice();
    } else if (name === pageBitsName) {
      await reader.need(4);
      const received = reader.u32();
      if (received !== pageBits) {
        throw streamErrors.ERR_CPR_STREAM_PAGE_BITS({ received, local: pageBits });
      }
    } else {
      throw reader.error(`VM subsection '${name}' in 'configuration' does not exist`);
    }
  }
}
