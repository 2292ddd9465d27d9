import { isBootId } from "../boot-id.ts";
import { streamErrors } from "../errors/stream-errors.ts";
import { type CheckpointPurpose, checkpointPurposes } from "../migration-mode.ts";
import { describedSize, parseDescription, type StateDescription } from "../state/description.ts";
import { chunkSize } from "./chunk-checksum.ts";
import { describeConfiguration, type StreamConfiguration } from "./configuration-section.ts";
import { pageSize } from "./format.ts";
import { sectionChecksum } from "./section-checksum.ts";

/** The state of one device in the stream. */
export interface DeviceSection {
  readonly id: string;
  readonly instance: number;
  readonly version: number;
  readonly data: Uint8Array;
  readonly description: StateDescription;
}

/** What a checkpoint tells about a RAM block beyond QEMU's list. */
export interface RamFacts {
  readonly id: string;
  readonly size: number;
  /** The contents stay in the memory object. */
  readonly inPlace: boolean;
  /** The generation is also written beside the memory object, and has to be found there. */
  readonly bound: boolean;
  /** The checksums of the chunks of a block that is copied (see `chunk-checksum.ts`); from format 2 on. */
  readonly chunkChecksums?: Uint32Array;
}

/** What a file of the host was like that a device's state depends on. */
export interface FileFacts {
  readonly id: string;
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Time of the last modification: nanoseconds since 1970, decimal. */
  readonly modified: string;
  /** Decimal. */
  readonly inode: string;
}

/** What a checkpoint was made for, and by whom. */
export interface CheckpointOrigin {
  readonly purpose: CheckpointPurpose;
  /** The boot of the host on which it was written. */
  readonly bootId: string;
  readonly writer: { readonly program: string; readonly version: string };
}

/** What a checkpoint tells about itself beyond QEMU's format: the key `cpr` of the vmdescription. */
export interface CheckpointFacts {
  /** Version of these facts. */
  readonly format: number;
  /** From format 3 on. */
  readonly origin?: CheckpointOrigin;
  readonly mode: string;
  /** 32 hexadecimal digits, different for every checkpoint. */
  readonly generation: string;
  readonly processor: { readonly model: string; readonly count: number };
  readonly ram: readonly RamFacts[];
  /** Undefined if no device depends on files. */
  readonly files?: readonly FileFacts[];
}

export const factsFormat = 3;

/** What the vmdescription says about a device section. */
export interface DescribedDevice extends StateDescription {
  readonly name: string;
  readonly instance_id: number;
}

/** The vmdescription of a stream that was read. */
export interface StreamDescription {
  readonly devices: readonly DescribedDevice[];
  readonly facts: CheckpointFacts;
  /** The checksums of the device sections, in their order; undefined before format 2. */
  readonly sectionChecksums: readonly number[] | undefined;
}

/** The vmdescription as it stands in the stream: JSON in UTF-8. */
export function encodeDescription(
  configuration: StreamConfiguration,
  sections: readonly DeviceSection[],
  { origin, ...facts }: CheckpointFacts,
): Uint8Array {
  const json = JSON.stringify({
    configuration: describeConfiguration(configuration),
    page_size: pageSize,
    devices: sections.map(({ id, instance, description }) => ({ name: id, instance_id: instance, ...description })),
    cpr: {
      ...facts,
      ...origin,
      sections: sections.map((section, place) => encodeChecksum(sectionChecksum(section, place))),
      ram: facts.ram.map(({ chunkChecksums, ...block }) =>
        chunkChecksums === undefined ? block : { ...block, chunks: encodeChecksums(chunkChecksums) },
      ),
    },
  });
  const bytes = new TextEncoder().encode(json);
  // NOTE: QEMU's analyze-migration.py looks for the first `{` after the last NUL byte of the file. A length with that
  // byte in it would mislead it, so the JSON is made longer.
  let { length } = bytes;
  while ([24, 16, 8, 0].some((shift) => ((length >>> shift) & 0xff) === 0x7b)) {
    length += 1;
  }
  const padded = new Uint8Array(length).fill(0x20);
  padded.set(bytes);
  return padded;
}

/** @throws {CprError} ERR_CPR_STREAM_FORMAT or ERR_CPR_STREAM_NEWER. */
export function parseStreamDescription(bytes: Uint8Array, position: number): StreamDescription {
  const fail = (problem: string, cause?: unknown) =>
    streamErrors.ERR_CPR_STREAM_FORMAT({ position, problem: `the vmdescription ${problem}` }, { cause });
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw fail("is not JSON", error);
  }
  if (!isRecord(value) || !Array.isArray(value["devices"])) {
    throw fail("lists no devices");
  }
  demandKnown(value, ["configuration", "page_size", "devices", "cpr"], "", fail);
  if (value["page_size"] !== pageSize) {
    throw fail(`is of a machine with pages of ${String(value["page_size"])} bytes`);
  }
  const devices = value["devices"].map((device: unknown): DescribedDevice => {
    const { name, instance_id: instance, ...state } = isRecord(device) ? device : {};
    if (typeof name !== "string" || typeof instance !== "number") {
      throw fail("has a device without name or instance");
    }
    const description = parseDescription(state);
    if (typeof description === "string") {
      throw fail(`has the device '${name}', which ${description}`);
    }
    return { name, instance_id: instance, ...description };
  });
  const { cpr } = value;
  return { devices, facts: parseFacts(cpr, fail), sectionChecksums: parseSectionChecksums(cpr, fail) };
}

/** All keys that facts can have. */
const knownFacts = [
  ...["format", "mode", "generation", "purpose", "bootId", "writer", "processor", "ram", "files", "sections"],
] as const;

/** What a checkpoint says and nobody understands is a reason to refuse it. */
function demandKnown(
  value: Readonly<Record<string, unknown>>,
  known: readonly string[],
  path: string,
  fail: (problem: string) => Error,
): void {
  const unknown = Object.keys(value).find((key) => !known.includes(key));
  if (unknown !== undefined) {
    throw fail(`has an unknown key '${path}${unknown}'`);
  }
}

function parseFacts(value: unknown, fail: (problem: string) => Error): CheckpointFacts {
  if (!isRecord(value)) {
    throw fail("lacks the key 'cpr': the stream is not of this program");
  }
  const { format, mode, generation, processor, ram, files } = value;
  if (typeof format !== "number" || !Number.isInteger(format) || format < 1) {
    throw fail("lacks 'cpr.format'");
  }
  if (format > factsFormat) {
    throw streamErrors.ERR_CPR_STREAM_NEWER({ what: "the checkpoint", version: format, supported: factsFormat });
  }
  demandKnown(value, knownFacts, "cpr.", fail);
  if (
    typeof mode !== "string" ||
    typeof generation !== "string" ||
    !/^[0-9a-f]{32}$/.test(generation) ||
    !isRecord(processor) ||
    typeof processor["model"] !== "string" ||
    typeof processor["count"] !== "number" ||
    !Array.isArray(ram)
  ) {
    throw fail("has a malformed key 'cpr'");
  }
  demandKnown(processor, ["model", "count"], "cpr.processor.", fail);
  return {
    format,
    mode,
    generation,
    ...(format < 3 ? {} : { origin: parseOrigin(value, fail) }),
    processor: { model: processor["model"], count: processor["count"] },
    ram: ram.map((block: unknown): RamFacts => {
      if (!isRecord(block)) {
        throw fail("has a malformed 'cpr.ram'");
      }
      demandKnown(block, ["id", "size", "inPlace", "bound", "chunks"], "cpr.ram.", fail);
      const { id, size, inPlace, bound, chunks } = block;
      if (
        typeof id !== "string" ||
        typeof size !== "number" ||
        typeof inPlace !== "boolean" ||
        typeof bound !== "boolean"
      ) {
        throw fail("has a malformed 'cpr.ram'");
      }
      if (format === 1 || inPlace) {
        return { id, size, inPlace, bound };
      }
      const chunkChecksums = typeof chunks === "string" ? decodeChecksums(chunks) : undefined;
      if (chunkChecksums?.length !== Math.ceil(size / chunkSize)) {
        throw fail(`lacks the checksums of RAM block '${id}'`);
      }
      return { id, size, inPlace, bound, chunkChecksums };
    }),
    ...(files === undefined ? {} : { files: parseFiles(files, fail) }),
  };
}

function parseOrigin(
  { purpose, bootId, writer }: Readonly<Record<string, unknown>>,
  fail: (problem: string) => Error,
): CheckpointOrigin {
  const known = checkpointPurposes.find((each) => each === purpose);
  const { program, version } = isRecord(writer) ? writer : {};
  if (
    known === undefined ||
    typeof bootId !== "string" ||
    !isBootId(bootId) ||
    typeof program !== "string" ||
    typeof version !== "string"
  ) {
    throw fail("does not tell what it was made for, where, and by whom");
  }
  demandKnown(writer as Record<string, unknown>, ["program", "version"], "cpr.writer.", fail);
  return { purpose: known, bootId, writer: { program, version } };
}

function parseFiles(value: unknown, fail: (problem: string) => Error): readonly FileFacts[] {
  if (!Array.isArray(value)) {
    throw fail("has a malformed 'cpr.files'");
  }
  return value.map((file: unknown): FileFacts => {
    const { id, path, size, modified, inode } = isRecord(file) ? file : {};
    if (
      typeof id !== "string" ||
      typeof path !== "string" ||
      typeof size !== "number" ||
      typeof modified !== "string" ||
      typeof inode !== "string"
    ) {
      throw fail("has a malformed 'cpr.files'");
    }
    demandKnown(file as Record<string, unknown>, ["id", "path", "size", "modified", "inode"], "cpr.files.", fail);
    return { id, path, size, modified, inode };
  });
}

function parseSectionChecksums(cpr: unknown, fail: (problem: string) => Error): readonly number[] | undefined {
  const { format, sections } = cpr as Record<string, unknown>;
  if (format === 1) {
    return undefined;
  }
  if (!Array.isArray(sections) || !sections.every((each) => typeof each === "string" && /^[0-9a-f]{8}$/.test(each))) {
    throw fail("lacks the checksums of the sections");
  }
  return sections.map((each: string) => Number.parseInt(each, 16));
}

function encodeChecksum(checksum: number): string {
  return checksum.toString(16).padStart(8, "0");
}

/** Many checksums: base64 of big-endian u32s. */
function encodeChecksums(checksums: Uint32Array): string {
  const bytes = Buffer.alloc(4 * checksums.length);
  for (const [index, checksum] of checksums.entries()) {
    bytes.writeUInt32BE(checksum, 4 * index);
  }
  return bytes.toString("base64");
}

function decodeChecksums(text: string): Uint32Array {
  const bytes = Buffer.from(text, "base64");
  return Uint32Array.from({ length: Math.floor(bytes.length / 4) }, (_, index) => bytes.readUInt32BE(4 * index));
}

/** Bytes that the state of a described device takes in the stream. */
export function stateSize(description: StateDescription): number {
  return description.fields.reduce((sum, field) => sum + describedSize(field), 0);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
