import type { MonitorMembers, MonitorValue } from "@cpr/core";
import { monitorErrors } from "./monitor-errors.ts";

const string = { value: "string" } as const;

/** QEMU's ways to say where a migration stream goes (QAPI MigrationAddress), flat: `socket` has the kinds of sockets in it. */
const socketKinds: Readonly<Record<string, MonitorMembers>> = {
  inet: { host: string, port: string },
  unix: { path: string },
  vsock: { cid: string, port: string },
  fd: { str: string },
};

const transports: Readonly<Record<string, MonitorMembers>> = {
  socket: {
    type: { value: { anyOf: Object.keys(socketKinds) } },
    // Which of these must be there is judged when it is known which kind it is.
    ...Object.fromEntries(
      Object.values(socketKinds).flatMap((members) =>
        Object.entries(members).map(([name, member]) => [name, { ...member, optional: true }] as const),
      ),
    ),
  },
  exec: { args: { value: { listOf: "string" } } },
  rdma: { host: string, port: string },
  file: { filename: string, offset: { value: "size" } },
};

/** The type of the argument `channels` of `migrate` and `migrate-incoming` (QAPI: a list of MigrationChannel). */
export const channelsType: Exclude<MonitorValue, string> = {
  listOf: {
    members: {
      "channel-type": { value: { anyOf: ["main", "cpr"] } },
      addr: { value: { tag: "transport", variants: transports } },
    },
  },
};

type Address = Readonly<Record<string, unknown>>;

interface Channel {
  readonly "channel-type": "main" | "cpr";
  readonly addr: Address;
}

/**
 * The URI that `migrate` or `migrate-incoming` is told, by one of its arguments `uri` and `channels`.
 *
 * @throws {CprError} with QEMU's texts.
 */
export function uriOf({ uri, channels }: Readonly<Record<string, unknown>>): string {
  const list = (channels ?? []) as readonly Channel[];
  if ((uri === undefined) === (list.length === 0)) {
    throw monitorErrors.ERR_CPR_CHANNELS({ problem: "need either 'uri' or 'channels' argument" });
  }
  if (uri !== undefined) {
    return String(uri);
  }
  const main = list.filter((channel) => channel["channel-type"] === "main");
  if (main.length > 1) {
    throw monitorErrors.ERR_CPR_CHANNELS({ problem: "Channel list has more than one main entry" });
  }
  if (main[0] === undefined) {
    throw monitorErrors.ERR_CPR_CHANNELS({ problem: "Channel list has no main entry" });
  }
  if (list.length > 1) {
    throw monitorErrors.ERR_CPR_CHANNELS({ problem: "Channel list must have only one entry, for type 'main'" });
  }
  return uriOfAddress(main[0].addr);
}

/** The URI of a file. @throws {CprError} if its name is one that a URI cannot have. */
export function fileUri(filename: string, offset: number): string {
  if (filename.includes(",offset=")) {
    const problem = `A file name that contains ',offset=' cannot be used: '${filename}'`;
    throw monitorErrors.ERR_CPR_CHANNELS({ problem });
  }
  return `file:${filename}${offset === 0 ? "" : `,offset=${offset}`}`;
}

function uriOfAddress(address: Address): string {
  const member = (name: string): string => {
    if (address[name] === undefined) {
      throw monitorErrors.ERR_CPR_QMP_ARGUMENT({ problem: `Parameter 'channels[0].addr.${name}' is missing` });
    }
    return String(address[name]);
  };
  switch (address["transport"]) {
    case "file":
      return fileUri(member("filename"), Number(address["offset"]));
    case "exec":
      return `exec:${(address["args"] as readonly string[]).map(quoted).join(" ")}`;
    case "rdma":
      return `rdma:${member("host")}:${member("port")}`;
    default:
      return uriOfSocket(address, member);
  }
}

function uriOfSocket(address: Address, member: (name: string) => string): string {
  const kind = String(address["type"]);
  const allowed = ["transport", "type", ...Object.keys(socketKinds[kind] ?? {})];
  const other = Object.keys(address).find((name) => !allowed.includes(name));
  if (other !== undefined) {
    throw monitorErrors.ERR_CPR_QMP_ARGUMENT({ problem: `Parameter 'channels[0].addr.${other}' is unexpected` });
  }
  switch (kind) {
    case "inet": {
      const host = member("host");
      return `tcp:${host.includes(":") ? `[${host}]` : host}:${member("port")}`;
    }
    case "vsock":
      return `vsock:${member("cid")}:${member("port")}`;
    case "fd":
      return `fd:${member("str")}`;
    default:
      return `unix:${member("path")}`;
  }
}

/** One argument as a POSIX shell reads it back, whatever is in it. */
function quoted(argument: string): string {
  return /^[\w./:=@%+-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;
}
