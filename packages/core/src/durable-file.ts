import { closeSync, fsyncSync, openSync, renameSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Replaces a small file by another, durably: whatever happens, one of the two is there, whole.
 *
 * @throws {Error} the system's; the old file is there then.
 */
export function replaceFile(path: string, text: string): void {
  // Beside its place, then renamed: a full disk must not destroy the old one.
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    writeFileSync(temporary, text, { mode: 0o600, flush: true });
    renameSync(temporary, path);
    syncFolder(dirname(path));
  } catch (error) {
    removeQuietly(temporary);
    throw error;
  }
}

/** Gives a file another name in the same folder, durably. @throws {Error} the system's */
export function renameFile(path: string, other: string): void {
  renameSync(path, other);
  syncFolder(dirname(other));
}

/** Removes a file, durably, and tells whether it was there. @throws {Error} the system's */
export function removeFile(path: string): boolean {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") {
      return false;
    }
    throw error;
  }
  syncFolder(dirname(path));
  return true;
}

/** Makes the names in a folder durable. */
function syncFolder(path: string): void {
  const folder = openSync(path, "r");
  try {
    fsyncSync(folder);
  } catch (error) {
    // Some file systems have nothing to sync of a folder.
    if (!["EINVAL", "ENOTSUP"].includes((error as NodeJS.ErrnoException).code ?? "")) {
      throw error;
    }
  } finally {
    closeSync(folder);
  }
}

function removeQuietly(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // Why it was to be removed says more.
  }
}
