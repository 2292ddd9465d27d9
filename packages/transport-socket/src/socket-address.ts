import type { ListenOptions, NetConnectOpts } from "node:net";
import type { TransportUri } from "@cpr/core";
import { socketErrors } from "./errors.ts";

/** An address in the forms that Node takes. */
export interface SocketAddress {
  readonly connect: NetConnectOpts;
  readonly listen: ListenOptions;
}

/** Reads `HOST:PORT`; the host may be empty, or an IPv6 address in brackets. @throws {CprError} ERR_CPR_SOCKET_URI */
export function parseTcpAddress({ text, rest }: TransportUri): SocketAddress {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(rest);
  const port = Number(match?.[3]);
  if (match === null || port < 1 || port > 65_535) {
    throw socketErrors.ERR_CPR_SOCKET_URI({ uri: text, expected: "of the form tcp:HOST:PORT" });
  }
  const host = match[1] ?? match[2] ?? "";
  return host === ""
    ? { connect: { host: "localhost", port }, listen: { port } }
    : { connect: { host, port }, listen: { host, port } };
}

/** Reads a path. @throws {CprError} ERR_CPR_SOCKET_URI */
export function parseUnixAddress({ text, rest }: TransportUri): SocketAddress {
  // The kernel's sockaddr_un has room for 107 bytes; Node cuts longer ones off without a word.
  if (rest === "" || Buffer.byteLength(rest) > 107) {
    throw socketErrors.ERR_CPR_SOCKET_URI({
      uri: text,
      expected: "of the form unix:PATH with a path of at most 107 bytes",
    });
  }
  return { connect: { path: rest }, listen: { path: rest } };
}
