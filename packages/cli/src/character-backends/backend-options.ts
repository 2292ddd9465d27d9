import { cliErrors } from "../cli-errors.ts";
import { parseOptionList } from "../option-list.ts";

/** Where a socket is. */
export type SocketAddress =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number };

/** A socket that clients connect to, or one that connects to somebody. */
export interface SocketOptions {
  readonly kind: "socket";
  readonly address: SocketAddress;
  readonly server: boolean;
  /** The VM starts when a client is there. */
  readonly wait: boolean;
}

/** The host's end of a character device, as the command line describes it. */
export type CharacterBackendOptions =
  | { readonly kind: "stdio"; readonly withMonitor: boolean }
  | { readonly kind: "file"; readonly path: string; readonly append: boolean }
  | { readonly kind: "null" }
  | { readonly kind: "pty" }
  | SocketOptions;

type Parameters = ReadonlyMap<string, string>;

/** A kind of `-chardev`: which parameters it takes, and what they mean. */
interface BackendKind {
  readonly parameters: readonly string[];
  /** Gives what is wrong if it is a text. */
  read(parameters: Parameters): CharacterBackendOptions | string;
}

/** The kinds of `-chardev`, by QEMU's names and with QEMU's parameters. */
const kinds: ReadonlyMap<string, BackendKind> = new Map<string, BackendKind>([
  ["null", { parameters: [], read: () => ({ kind: "null" }) }],
  ["pty", { parameters: [], read: () => ({ kind: "pty" }) }],
  ["stdio", { parameters: [], read: () => ({ kind: "stdio", withMonitor: false }) }],
  ["file", { parameters: ["path", "append"], read: readFile }],
  ["socket", { parameters: ["path", "host", "port", "server", "wait"], read: readSocket }],
]);

/**
 * Reads `-chardev KIND,id=ID,…`.
 *
 * @throws {CprError} ERR_CPR_CHARDEV
 */
export function parseChardev(text: string): { readonly id: string; readonly options: CharacterBackendOptions } {
  const parameters = parseOptionList("chardev", spellFlags(text), "backend");
  const id = parameters.get("id") ?? "";
  if (id === "") throw chardevError("chardev", text, "Parameter 'id' is missing");
  if (!/^[A-Za-z][\w.-]*$/.test(id)) throw chardevError("chardev", text, "Parameter 'id' expects an identifier");
  return { id, options: readBackend("chardev", text, parameters) };
}

/** What `-serial` can name: an end of its own, or one that `-chardev` has made. */
export type SerialOptions = CharacterBackendOptions | { readonly kind: "chardev"; readonly id: string };

/**
 * Reads a `-serial` value, which is QEMU's short way of writing a `-chardev`.
 *
 * @throws {CprError} ERR_CPR_OPTION_VALUE, ERR_CPR_CHARDEV
 */
export function parseSerial(text: string): SerialOptions {
  const chardev = /^chardev:(.+)$/.exec(text)?.[1];
  if (chardev !== undefined) return { kind: "chardev", id: chardev };
  const options = text === "none" ? parseShortForm("serial", "null") : parseShortForm("serial", text);
  if (options === undefined) {
    const expected = "stdio, mon:stdio, pty, file:PATH, unix:PATH[,…], tcp:HOST:PORT[,…], chardev:ID, null or none";
    throw cliErrors.ERR_CPR_OPTION_VALUE({ option: "serial", value: text, expected });
  }
  return options;
}

/**
 * Reads the short form of a character device: `stdio`, `unix:PATH,server=on,wait=off`. Undefined if it begins with none.
 *
 * @param option the option whose value it is
 * @throws {CprError} ERR_CPR_CHARDEV, ERR_CPR_OPTION_SYNTAX
 */
export function parseShortForm(option: string, text: string): CharacterBackendOptions | undefined {
  if (text === "mon:stdio") return { kind: "stdio", withMonitor: true };
  if (text === "stdio" || text === "pty" || text === "null") {
    return readBackend(option, text, new Map([["backend", text]]));
  }
  const [, scheme, rest = ""] = /^(file|unix|tcp):(.+)$/s.exec(text) ?? [];
  switch (scheme) {
    case "file":
      return { kind: "file", path: rest, append: false };
    case "unix":
      return readBackend(option, text, new Map([...parseOptionList(option, spellFlags(rest), "path"), socketBackend]));
    case "tcp": {
      const {
        host = "",
        port = "",
        options = "",
      } = /^(?<host>\[[^\]]*\]|[^:,]*):(?<port>[^,]*)(?<options>.*)$/s.exec(rest)?.groups ?? {};
      const list = parseOptionList(option, spellFlags(`${port}${options}`), "port");
      return readBackend(option, text, new Map([...list, ["host", host.replace(/^\[|\]$/g, "")], socketBackend]));
    }
    default:
      return undefined;
  }
}

const socketBackend = ["backend", "socket"] as const;

function readBackend(option: string, text: string, parameters: Parameters): CharacterBackendOptions {
  const name = parameters.get("backend") ?? "";
  const kind = kinds.get(name);
  if (kind === undefined) throw chardevError(option, text, `'${name}' is not a valid char driver name`);
  const unknown = [...parameters.keys()].find((key) => !["backend", "id", ...kind.parameters].includes(key));
  if (unknown !== undefined) throw chardevError(option, text, `Invalid parameter '${unknown}'`);
  const options = kind.read(parameters);
  if (typeof options === "string") throw chardevError(option, text, options);
  return options;
}

function readFile(parameters: Parameters): CharacterBackendOptions | string {
  const path = parameters.get("path") ?? "";
  const append = readSwitch(parameters, "append", false);
  if (path === "") return "chardev: file: no filename given";
  return typeof append === "string" ? append : { kind: "file", path, append };
}

function readSocket(parameters: Parameters): CharacterBackendOptions | string {
  const path = parameters.get("path");
  const host = parameters.get("host");
  const port = parameters.get("port");
  if ((path === undefined) === (host === undefined)) return "Exactly one of 'path', 'fd' or 'host' required";
  const server = readSwitch(parameters, "server", false);
  if (typeof server === "string") return server;
  if (!server && parameters.has("wait")) return "'wait' option is incompatible with socket in client connect mode";
  const wait = readSwitch(parameters, "wait", server);
  if (typeof wait === "string") return wait;
  if (path !== undefined) {
    if (path === "") return "chardev: socket: no path given";
    return { kind: "socket", address: { kind: "unix", path }, server, wait };
  }
  if (port === undefined) return "chardev: socket: no port given";
  if (!/^\d{1,5}$/.test(port) || Number(port) > 0xffff) return `Parameter 'port' expects a number from 0 to 65535`;
  return { kind: "socket", address: { kind: "tcp", host: host ?? "", port: Number(port) }, server, wait };
}

/** Gives what is wrong if it is a text. */
function readSwitch(parameters: Parameters, name: string, fallback: boolean): boolean | string {
  const value = parameters.get(name);
  if (value === undefined) return fallback;
  return value === "on" || value === "off" ? value === "on" : `Parameter '${name}' expects 'on' or 'off'`;
}

/** QEMU's older way of writing switches: `server` for `server=on`, `nowait` for `wait=off`. */
function spellFlags(text: string): string {
  return text.replace(/(?<!,),(no)?(server|wait)(?=,|$)/g, (_, no, name) => `,${name}=${no === "no" ? "off" : "on"}`);
}

function chardevError(option: string, value: string, problem: string): Error {
  return cliErrors.ERR_CPR_CHARDEV({ option, value, problem });
}
