import { fstatSync } from "node:fs";
import { blockErrors, systemReason } from "@cpr/core";
import { findLockHolder, isLocked, tryLock } from "@cpr/native-mman";

/**
 * What one can do with an image, in the order of QEMU's permissions (include/block/block-common.h): bytes of the file stand for
 * them. A shared lock on byte 100 + N says that one does it, on byte 200 + N that nobody else may. So images are safe from
 * QEMU's virtual machines too, and these from us.
 */
const permission = { consistentRead: 0, write: 1, resize: 3 } as const;
const nameOf = { consistentRead: "consistent read", write: "write", resize: "resize" } as const;
type Permission = keyof typeof permission;

const byteOf = (base: 100 | 200, each: Permission) => ({ start: base + permission[each], length: 1 });

/** What nobody else may do to the disk of a VM, whether it only reads or not. */
const forbidden: readonly Permission[] = ["write", "resize"];

/**
 * Locks an image against other writers, and against all others if it is to be written.
 *
 * @throws {CprError} ERR_CPR_BLOCK_LOCKED, ERR_CPR_BLOCK_NO_LOCKS
 */
export function lockImage(descriptor: number, path: string, readOnly: boolean): void {
  const done: readonly Permission[] = readOnly ? ["consistentRead"] : ["consistentRead", "write"];
  try {
    // What one does and forbids is said first and compared with the others' after, so that of two at once one notices.
    for (const range of [...done.map((each) => byteOf(100, each)), ...forbidden.map((each) => byteOf(200, each))]) {
      if (!tryLock(descriptor, "shared", range)) throw locked(descriptor, path, '"write"');
    }
    for (const each of done) {
      if (isLocked(descriptor, byteOf(200, each))) throw locked(descriptor, path, `"${nameOf[each]}"`);
    }
    for (const each of forbidden) {
      if (isLocked(descriptor, byteOf(100, each))) throw locked(descriptor, path, `shared "${nameOf[each]}"`);
    }
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOLCK" || code === "ENOTSUP" || code === "EINVAL") {
      throw blockErrors.ERR_CPR_BLOCK_NO_LOCKS({ path, reason: systemReason(cause) }, { cause });
    }
    unlockImage(descriptor);
    throw cause;
  }
}

export function unlockImage(descriptor: number): void {
  tryLock(descriptor, "none");
}

function locked(descriptor: number, path: string, lock: string): Error {
  return blockErrors.ERR_CPR_BLOCK_LOCKED({ path, lock, pid: findLockHolder(fstatSync(descriptor)) });
}
