import type { ListenOptions, NetConnectOpts } from "node:net";
import type { TransportUri } from "@cpr/core";
import { socketErrors } from "./errors.ts";

/** An address: in the forms that Node takes, or of a family that Node does not know. */
export type SocketAddress =
  | { readonly family: "node"; readonly connect: NetConnectOpts; readonly listen: ListenOptions }
  | { readonly family: "vsock"; readonly cid: number; readonly port: number };

/** Reads `HOST:PORT`; the host may be empty, or an IPv6 address in brackets. @throws {CprError} ERR_CPR_SOCKET_URI */
export function parseTcpAddress({ text, rest }: TransportUri): SocketAddress {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(rest);
  const port = Number(match?.[3]);
  if (match === null || port < 1 || port > 65_535) {
    throw socketErrors.ERR_CPR_SOCKET_URI({ uri: text, expected: "of the form tcp:HOST:PORT" });
  }
  const host = match[1] ?? match[2] ?? "";
  return host === ""
    ? { family: "node", connect: { host: "localhost", port }, listen: { port } }
    : { family: "node", connect: { host, port }, listen: { host, port } };
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
  return { family: "node", connect: { path: rest }, listen: { path: rest } };
}

/** Reads `CID:PORT` (vsock(7)): two numbers of 32 bits. @throws {CprError} ERR_CPR_SOCKET_URI */
export function parseVsockAddress({ text, rest }: TransportUri): SocketAddress {
  const match = /^(\d{1,10}):(\d{1,10})$/.exec(rest);
  const [cid, port] = [Number(match?.[1]), Number(match?.[2])];
  if (match === null || cid > 0xffff_ffff || port > 0xffff_ffff) {
    throw socketErrors.ERR_CPR_SOCKET_URI({ uri: text, expected: "of the form vsock:CID:PORT with two numbers" });
  }
  return { family: "vsock", cid, port };
}
