import { createRequire } from "node:module";
import { getSystemErrorMessage, getSystemErrorName } from "node:util";
import { nativeSocketErrors } from "./errors.ts";

/** Where a socket is: a path, an IP address and a port, or a CID and a port. */
export type SocketAddress =
  | readonly [path: string]
  | readonly [ip: string, port: number]
  | readonly [cid: number, port: number];

/** The functions of the addon: see native-socket.cc. Each that gives a number gives 0 or more, or a negated errno. */
interface Addon {
  socket(domain: number): number;
  bind(descriptor: number, ...address: SocketAddress): number;
  connect(descriptor: number, ...address: SocketAddress): number;
  listen(descriptor: number, backlog: number): number;
  accept(descriptor: number): number;
  shutdown(descriptor: number): number;
  errorOf(descriptor: number): number;
  duplicate(descriptor: number): number;
  socketPair(): readonly [number, number];
  sendAtOnce(descriptor: number): number;
  read(descriptor: number, view: Uint8Array): number;
  write(descriptor: number, parts: readonly Uint8Array[]): number;
  doNotBlock(descriptor: number): number;
  attachTap(name: string, flags: number): number;
  tapFlags(descriptor: number): number;
  setTapHeader(descriptor: number, bytes: number): number;
  setTapOffload(descriptor: number, flags: number): number;
  keepTap(descriptor: number): number;
  receive(descriptor: number, view: Uint8Array, received: number[]): number;
  send(descriptor: number, view: Uint8Array, descriptors: readonly number[]): number;
  openTerminal(): number;
  terminalNumber(descriptor: number): number;
  hungUp(descriptor: number): number;
  beginWatching(ready: (id: number, events: number) => void): void;
  watch(operation: number, descriptor: number, events: number, id: number): number;
  keepAlive(on: boolean): void;
}

let loaded: Addon | undefined;

/**
 * The addon, loaded when it is first needed.
 *
 * @throws {CprError} ERR_CPR_NATIVE_SOCKET_UNAVAILABLE
 */
export function addon(): Addon {
  loaded ??= loadAddon();
  return loaded;
}

/** Loads the addon from a path relative to this module. Exported for the test of what happens when there is none. */
export function loadAddon(path = "../build/native-socket.node"): Addon {
  try {
    return createRequire(import.meta.url)(path) as Addon;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw nativeSocketErrors.ERR_CPR_NATIVE_SOCKET_UNAVAILABLE(
      { reason: code === "MODULE_NOT_FOUND" ? "it was not compiled" : "it does not load" },
      { cause },
    );
  }
}

/** Whether there is an addon on this host. */
export function isAvailable(): boolean {
  try {
    addon();
    return true;
  } catch {
    return false;
  }
}

/** The error for a negated errno, with Node's `code`, `errno` and `syscall`. */
export function systemError(syscall: string, result: number): NodeJS.ErrnoException {
  const code = getSystemErrorName(result);
  return Object.assign(new Error(`${code}: ${getSystemErrorMessage(result)}, ${syscall}`), {
    code,
    errno: result,
    syscall,
  });
}

/** Passes the result of a system call on. @throws {Error} with `code`, `errno` and `syscall` if it is a negated errno. */
export function checked(syscall: string, result: number): number {
  if (result < 0) {
    throw systemError(syscall, result);
  }
  return result;
}

/** Whether a result says that the call would have to wait (errno.h EAGAIN). */
export function mustWait(result: number): boolean {
  return result === -11;
}
