import { closeSync, fstatSync } from "node:fs";
import { memoryErrors } from "@cpr/core";
import { tryLock } from "./descriptor.ts";
import { findLockHolder } from "./lock-holder.ts";

/**
 * Locks an open memory object, and closes it if another VM has it.
 *
 * @param waiting - it stays open without the lock then.
 * @returns whether it is locked.
 * @throws {CprError} ERR_CPR_MEMORY_BUSY
 */
export function lockObject(descriptor: number, path: string, type: "shared" | "exclusive", waiting: boolean): boolean {
  const locked = tryLock(descriptor, type);
  if (!locked && !waiting) {
    const pid = findLockHolder(fstatSync(descriptor));
    closeSync(descriptor);
    throw memoryErrors.ERR_CPR_MEMORY_BUSY({ path, pid });
  }
  return locked;
}
