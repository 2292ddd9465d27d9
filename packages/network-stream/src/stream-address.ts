import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import type { NetworkProperties } from "@cpr/core";
import type { SocketAddress } from "@cpr/native-socket";

/** Where a `-netdev stream` is connected to. */
export type StreamAddress =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "inet"; readonly host: string; readonly port: number };

/** Bytes that a Unix socket's path can have (unix(7)). */
const longestPath = 107;

/** Reads QEMU's SocketAddress: `addr.type=unix,addr.path=PATH` or `addr.type=inet,addr.host=HOST,addr.port=PORT`. */
export function readAddress(properties: NetworkProperties): StreamAddress {
  const type = properties.requiredText("addr.type", "'unix' or 'inet'");
  if (type === "unix") {
    const expected = `a path of at most ${longestPath} bytes`;
    const path = properties.requiredText("addr.path", expected);
    if (Buffer.byteLength(path) > longestPath) throw properties.error("addr.path", expected);
    return { kind: "unix", path };
  }
  if (type !== "inet") throw properties.error("addr.type", "'unix' or 'inet'");
  const host = properties.requiredText("addr.host", "a host's name or address");
  const port = properties.integer("addr.port", 1, 65_535);
  if (port === undefined) throw properties.error("addr.port", "a number from 1 to 65535");
  return { kind: "inet", host, port };
}

/** An address in print. */
export function showAddress(address: StreamAddress): string {
  return address.kind === "unix" ? `unix:${address.path}` : `${address.host}:${address.port}`;
}

/** The address for the system, with a host's name looked up. @throws {Error} with `code` */
export async function resolveAddress(address: StreamAddress): Promise<SocketAddress> {
  if (address.kind === "unix") return [address.path];
  const { host, port } = address;
  return [isIP(host) === 0 ? (await lookup(host)).address : host, port];
}
