import type { BlockDeviceOptions, DeviceOptions } from "@cpr/core";
import { cliErrors } from "./cli-errors.ts";
import { parseOptionList } from "./option-list.ts";

/** What `-drive` and `-blockdev` mean. */
export interface BlockPlan {
  readonly blockDevices: readonly BlockDeviceOptions[];
  /** The devices of those that are given with `-drive if=virtio`. */
  readonly devices: readonly DeviceOptions[];
}

/** The parameters of one option by their names, nested ones with dots between, e.g. `file.filename`. */
type Parameters = ReadonlyMap<string, string>;

/** The disk that a driver of files is, if another node does not name it as its file. */
interface Node {
  readonly device: BlockDeviceOptions;
  /** The node that it names as its file. */
  readonly file?: string;
}

/** What a disk is made from where nothing is said. */
const assumedFormat = "raw";
const model = "virtio-blk-pci";
/** Drivers of what is on the host, below any format. */
const fileDrivers: readonly string[] = ["file", "host_device"];

/** QEMU's cache modes (system/blockdev.c, docs of `-drive cache=`). */
const cacheModes: Readonly<Record<string, { direct?: true; noFlush?: true; writeCache?: false }>> = {
  none: { direct: true },
  directsync: { direct: true, writeCache: false },
  unsafe: { noFlush: true },
  writeback: {},
  writethrough: { writeCache: false },
};

/**
 * Reads `-drive file=F,format=raw,if=virtio,…` and `-blockdev driver=raw,node-name=N,…`, the latter as JSON too.
 *
 * @throws {CprError} ERR_CPR_OPTION_SYNTAX, ERR_CPR_BLOCK_PARAMETER
 */
export function parseBlockOptions(drives: readonly string[], nodes: readonly string[]): BlockPlan {
  const parsed = nodes.map(parseNode);
  const known = new Map(parsed.map((node) => [node.device.id, node]));
  const below = new Set(parsed.flatMap(({ file }) => file ?? []));
  const resolved = parsed.map(({ device, file }) =>
    file === undefined ? device : onTopOf(device, file, known.get(file)),
  );
  const blockDevices = resolved.filter(({ id }) => !below.has(id));
  const devices: DeviceOptions[] = [];
  const count: Record<string, number> = {};
  for (const text of drives) {
    const kind = parseOptionList("drive", text).get("if") ?? "";
    const index = count[kind] ?? 0;
    count[kind] = index + 1;
    const { blockDevice, device } = parseDrive(text, `${kind}${index}`);
    blockDevices.push(blockDevice);
    if (device !== undefined) devices.push(device);
  }
  return { blockDevices, devices };
}

function parseDrive(text: string, name: string): { blockDevice: BlockDeviceOptions; device?: DeviceOptions } {
  const reader = new ParameterReader("drive", text, parseOptionList("drive", text));
  const kind = reader.choice("if", ["virtio", "none"]);
  if (kind === undefined) {
    throw reader.error("if", "is missing: give if=virtio, or if=none and a -device that has the disk");
  }
  const id = reader.text("id") ?? reader.text("node-name") ?? name;
  const mode = cacheModes[reader.choice("cache", Object.keys(cacheModes)) ?? "writeback"] ?? {};
  const format = reader.text("format") ?? reader.text("driver");
  const serial = reader.text("serial");
  reader.choice("media", ["disk"]);
  // Where the disk would be if there were several buses.
  reader.text("index");
  for (const each of ["werror", "rerror"]) reader.choice(each, ["report"]);
  reader.choice("file.driver", fileDrivers);
  const blockDevice: BlockDeviceOptions = {
    id,
    driver: format ?? assumedFormat,
    ...(format === undefined ? { assumed: true } : {}),
    path: reader.text("file") || reader.required("file.filename", "file"),
    readOnly: reader.flag("readonly") ?? reader.flag("read-only") ?? false,
    cache: reader.cache(mode),
    discard: reader.discard() ?? "ignore",
    locking: reader.locking("file.") ?? true,
  };
  const writeCache = reader.flag("cache.writeback") ?? mode.writeCache ?? true;
  reader.end();
  if (kind === "none") {
    if (serial !== undefined || !writeCache) {
      throw reader.error(serial === undefined ? "cache" : "serial", `belongs to the -device: ${model},drive=${id},…`);
    }
    return { blockDevice };
  }
  const properties = {
    drive: id,
    ...(serial === undefined ? {} : { serial }),
    ...(writeCache ? {} : { "write-cache": "off" }),
  };
  return { blockDevice, device: { model, id, properties } };
}

function parseNode(text: string): Node {
  const reader = new ParameterReader(
    "blockdev",
    text,
    text.startsWith("{") ? parseJson(text) : parseOptionList("blockdev", text),
  );
  const driver = reader.required("driver");
  const isFile = fileDrivers.includes(driver);
  const prefix = isFile ? "" : "file.";
  const id = reader.required("node-name");
  const file = isFile ? undefined : reader.text("file");
  if (!isFile && file === undefined) reader.choice("file.driver", fileDrivers);
  const device: BlockDeviceOptions = {
    id,
    driver: isFile ? assumedFormat : driver,
    path: file === undefined ? reader.required(`${prefix}filename`) : "",
    readOnly: reader.flag("read-only") ?? false,
    cache: reader.cache({}),
    discard: reader.discard() ?? "ignore",
    locking: reader.locking(prefix) ?? true,
  };
  // Permission to open it for reading only if it is not written to: it is opened as `read-only` says.
  for (const each of ["auto-read-only", ...(isFile ? [] : ["file.auto-read-only"])]) reader.flag(each);
  reader.end();
  return { device, ...(file === undefined ? {} : { file }) };
}

/** A disk whose file is another node's. */
function onTopOf(device: BlockDeviceOptions, name: string, below: Node | undefined): BlockDeviceOptions {
  if (below === undefined || below.file !== undefined) {
    throw cliErrors.ERR_CPR_BLOCK_PARAMETER({
      option: "blockdev",
      parameter: "file",
      problem: `names '${name}', which is no node with driver=file`,
    });
  }
  const { path, cache, locking } = below.device;
  return {
    ...device,
    path,
    locking,
    cache: { direct: device.cache.direct || cache.direct, noFlush: device.cache.noFlush || cache.noFlush },
  };
}

/** The members of a JSON object, nested ones by their path. */
function parseJson(text: string): Parameters {
  const result = new Map<string, string>();
  const add = (value: unknown, path: string): void => {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      for (const [key, member] of Object.entries(value)) add(member, path === "" ? key : `${path}.${key}`);
    } else if (typeof value === "boolean") {
      result.set(path, value ? "on" : "off");
    } else {
      result.set(path, String(value));
    }
  };
  try {
    add(JSON.parse(text), "");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw cliErrors.ERR_CPR_OPTION_SYNTAX({ option: "blockdev", value: text, reason }, { cause });
  }
  return result;
}

/** Takes the parameters of one option, one by one, so that those are known at the end that nobody takes. */
class ParameterReader {
  readonly #option: string;
  readonly #text: string;
  readonly #left: Map<string, string>;
  readonly #known: string[] = [];

  constructor(option: string, text: string, parameters: Parameters) {
    this.#option = option;
    this.#text = text;
    this.#left = new Map(parameters);
  }

  text(name: string): string | undefined {
    const value = this.#left.get(name);
    this.#left.delete(name);
    this.#known.push(name);
    return value;
  }

  /** @param shown - the name under which it is missed. */
  required(name: string, shown = name): string {
    const value = this.text(name);
    if (value === undefined || value === "") throw this.error(shown, "is missing");
    return value;
  }

  choice(name: string, values: readonly string[]): string | undefined {
    const value = this.text(name);
    if (value !== undefined && !values.includes(value)) {
      throw this.error(name, `does not accept value '${value}'; it can be ${values.join(", ")}`);
    }
    return value;
  }

  flag(name: string): boolean | undefined {
    const value = this.choice(name, ["on", "off"]);
    return value === undefined ? undefined : value === "on";
  }

  cache({ direct, noFlush }: { direct?: true; noFlush?: true }): BlockDeviceOptions["cache"] {
    this.choice("aio", ["threads"]);
    return {
      direct: this.flag("cache.direct") ?? direct ?? false,
      noFlush: this.flag("cache.no-flush") ?? noFlush ?? false,
    };
  }

  discard(): BlockDeviceOptions["discard"] | undefined {
    this.choice("detect-zeroes", ["off"]);
    const value = this.choice("discard", ["ignore", "off", "unmap", "on"]);
    return value === undefined ? undefined : value === "unmap" || value === "on" ? "unmap" : "ignore";
  }

  locking(prefix: string): boolean | undefined {
    const value = this.choice(`${prefix}locking`, ["on", "auto", "off"]);
    return value === undefined ? undefined : value !== "off";
  }

  /** @throws {CprError} if there is a parameter that nobody has taken. */
  end(): void {
    const [unknown] = this.#left.keys();
    if (unknown !== undefined) throw this.error(unknown, "is unexpected");
  }

  error(parameter: string, problem: string): Error {
    return cliErrors.ERR_CPR_BLOCK_PARAMETER({
      option: this.#option,
      parameter,
      problem,
      value: this.#text,
      known: this.#known,
    });
  }
}
