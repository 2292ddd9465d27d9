import { readFile, stat } from "node:fs/promises";
import type { MachineOptions } from "@cpr/core";
import { machineErrors } from "./errors.ts";

/** Texts for what can be wrong with a path; anything else is told in the system's words. */
const reasons: Readonly<Record<string, string>> = {
  ENOENT: "No such file or directory",
  EACCES: "Permission denied",
  EISDIR: "Is a directory",
  ENOTDIR: "Not a directory",
  ELOOP: "Too many levels of symbolic links",
};

async function attempt<T>(purpose: string, path: string, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const reason = reasons[code ?? ""] ?? message;
    throw machineErrors.ERR_CPR_BOOT_FILE({ path, purpose, reason }, { cause });
  }
}

/**
 * Reads the kernel.
 *
 * @throws {CprError} if none was given or it cannot be read.
 */
export async function readKernel(options: MachineOptions): Promise<{ path: string; bytes: Uint8Array }> {
  const { kernel } = options;
  if (kernel === undefined) {
    throw machineErrors.ERR_CPR_NO_KERNEL({});
  }
  return { path: kernel, bytes: await attempt("kernel", kernel, () => readFile(kernel)) };
}

/** Size of the initrd in bytes, 0 if there is none. @throws {CprError} if it cannot be looked at. */
export async function initrdSize({ initrd }: MachineOptions): Promise<number> {
  if (initrd === undefined) {
    return 0;
  }
  return await attempt("initrd", initrd, async () => {
    const status = await stat(initrd);
    if (status.isDirectory()) {
      throw Object.assign(new Error("Is a directory"), { code: "EISDIR" });
    }
    return status.size;
  });
}

/** Reads the initrd, if there is one. @throws {CprError} if it cannot be read. */
export async function readInitrd({ initrd }: MachineOptions): Promise<Uint8Array | undefined> {
  return initrd === undefined ? undefined : await attempt("initrd", initrd, () => readFile(initrd));
}
