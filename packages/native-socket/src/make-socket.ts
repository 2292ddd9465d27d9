import { closeSync } from "node:fs";
import { addon, checked, type SocketAddress, systemError } from "./addon.ts";
import { Watch } from "./watch.ts";

// sys/socket.h
const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const AF_VSOCK = 40;

// errno.h
const EINPROGRESS = -115;

/** A stream socket of the family that an address is of, which does not block. */
export function makeSocket([host, port]: SocketAddress): number {
  if (typeof host === "number") return checked("socket", addon().socket(AF_VSOCK));
  const descriptor = checked(
    "socket",
    addon().socket(port === undefined ? AF_UNIX : host.includes(":") ? AF_INET6 : AF_INET),
  );
  // What is written to it are whole messages.
  if (port !== undefined) addon().sendAtOnce(descriptor);
  return descriptor;
}

/** A socket that is connected to an address. @throws {Error} with `code` */
export async function connectSocket(address: SocketAddress, signal?: AbortSignal): Promise<number> {
  const descriptor = makeSocket(address);
  try {
    const result = addon().connect(descriptor, ...address);
    if (result === EINPROGRESS) {
      await untilWritable(descriptor, signal);
      checked("connect", addon().errorOf(descriptor));
    } else if (result < 0) {
      throw systemError("connect", result);
    }
    return descriptor;
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

async function untilWritable(descriptor: number, signal: AbortSignal | undefined): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onAbort = (): void => reject(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  const watch = new Watch(descriptor);
  watch.whenWritable(resolve);
  try {
    await promise;
  } finally {
    watch.close();
    signal?.removeEventListener("abort", onAbort);
  }
}
