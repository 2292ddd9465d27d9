import { createRequire } from "node:module";
import { getSystemErrorMessage, getSystemErrorName } from "node:util";
import type { PageFunctions } from "@cpr/core";
import { nativeErrors } from "./errors.ts";

/** The functions of the addon: see native-mman.cc. Those that give a number give 0 or more, or a negated errno. */
interface Addon {
  addressOf(view: Uint8Array): bigint;
  reserve(length: number, alignment: number): ArrayBuffer | number;
  attach(address: bigint, length: number): ArrayBuffer;
  mmap(view: Uint8Array, protection: number, flags: number, descriptor: number, offset: number): number;
  probeMap(flags: number, descriptor: number): number;
  madvise(view: Uint8Array, advice: number): number;
  flushCache(view: Uint8Array, pairs: Float64Array): Promise<void>;
  scanPagemap(
    descriptor: number,
    view: Uint8Array,
    offset: number,
    pairs: Float64Array,
    all: number,
    inverted: number,
    any: number,
  ): number;
  memfdCreate(name: string, flags: number): number;
  fallocate(descriptor: number, mode: number, offset: number, length: number): number;
  lseek(descriptor: number, offset: number, whence: number): number;
  allocateRange(descriptor: number, mode: number, offset: number, length: number): Promise<number>;
  logicalBlockSize(descriptor: number): number;
  lock(descriptor: number, type: number, start: number, length: number): number;
  findLock(descriptor: number, type: number, start: number, length: number): number;
  /** Undefined on a processor that lacks the instructions for it; so is the next one. */
  readonly crc32: PageFunctions["crc32"] | undefined;
  readonly checksumPages: PageFunctions["checksumPages"] | undefined;
  readonly cacheFlushInstruction: "clwb" | "clflushopt" | "clflush";
  readonly pageSize: number;
}

let loaded: Addon | undefined;

/**
 * The addon, loaded when it is first needed: a VM with anonymous RAM runs on a host without a compiler.
 *
 * @throws {CprError} ERR_CPR_NATIVE_UNAVAILABLE
 */
export function addon(): Addon {
  loaded ??= loadAddon();
  return loaded;
}

/** Loads the addon from a path relative to this module. Exported for the test of what happens when there is none. */
export function loadAddon(path = "../build/native-mman.node"): Addon {
  try {
    return createRequire(import.meta.url)(path) as Addon;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw nativeErrors.ERR_CPR_NATIVE_UNAVAILABLE(
      { reason: code === "MODULE_NOT_FOUND" ? "it was not compiled" : "it does not load" },
      { cause },
    );
  }
}

/**
 * Passes the result of a system call on.
 *
 * @throws {Error} with Node's `code`, `errno` and `syscall` if it is a negated errno.
 */
export function checked(syscall: string, result: number): number {
  if (result >= 0) {
    return result;
  }
  const code = getSystemErrorName(result);
  throw Object.assign(new Error(`${code}: ${getSystemErrorMessage(result)}, ${syscall}`), {
    code,
    errno: result,
    syscall,
  });
}
