import { closeSync, constants, fstatSync, ftruncateSync, openSync, type Stats, statSync, unlinkSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { type MemoryObjectOptions, memoryErrors } from "@cpr/core";
import { canMapSynchronously, lockObject, reasonOf, reserve } from "@cpr/native-mman";
import { type FileSystem, fileSystemOf } from "./file-system.ts";

/** A file that is ready to be RAM: of the right size, and locked unless {@link locked} says otherwise. */
export interface OpenFile {
  readonly descriptor: number;
  readonly fileSystem: FileSystem;
  /** It was made, or was empty: all its bytes are zero. */
  readonly created: boolean;
  readonly locked: boolean;
  /** Removes it if nothing has been stored in it; undefined if it was not made here. */
  readonly discard?: (() => void) | undefined;
  /** It can be found again by its path. */
  readonly named: boolean;
  readonly location: string;
  /** `DEVICE:INODE`. */
  readonly identity: string;
}

type FileProperties = Pick<MemoryObjectOptions, "size" | "prealloc" | "readonly" | "pmem">;

const ownerOnly = 0o600;

/** QEMU takes a block device and has the page cache between it and the guest. */
const persistentMemoryRemedy =
  "Name a file on it, mounted with `-o dax=always` if it is persistent memory, or make that a device-DAX node, which destroys what is in it: `ndctl create-namespace -f -e NAMESPACE -m devdax`.";

/** Where the kernel keeps the nodes of devices. What is missing there is a device. */
const deviceFolder = "/dev";

/**
 * Opens the file of a path, or makes it, and locks it: exclusively if it is shared with the guest, else against
 * those who would. On failure, the path is as it was.
 *
 * @param use - `waiting`: if another VM shares it with its guest, it is opened without the lock.
 */
export function openNamed(
  path: string,
  properties: FileProperties,
  { share, waiting }: { readonly share: boolean; readonly waiting: boolean },
): OpenFile {
  const found = look(path);
  if (found?.isDirectory() === true) {
    return openUnnamed(path, properties);
  }
  if (found !== undefined && !found.isFile()) {
    const remedy = found.isBlockDevice() ? persistentMemoryRemedy : undefined;
    throw memoryErrors.ERR_CPR_MEMORY_KIND({ path, kind: kindOf(found), remedy });
  }
  for (;;) {
    const { descriptor, made } = openOrCreate(path, properties.readonly === true);
    const locked = lockObject(descriptor, path, share ? "exclusive" : "shared", share && waiting);
    try {
      const { nlink, dev, ino } = fstatSync(descriptor);
      if (nlink === 0) {
        // Another process made the file, failed and removed it, between our opening and locking it.
        closeSync(descriptor);
        continue;
      }
      const fileSystem = fileSystemOf(path);
      // Who has it has prepared it; here it must only fit.
      const prealloc = share && locked && properties.prealloc === true;
      const pmem = share && properties.pmem === true;
      const created = prepare(descriptor, path, fileSystem, { ...properties, prealloc, pmem }) && locked;
      const discard = made ? () => removeUnused(descriptor, path) : undefined;
      return {
        descriptor,
        fileSystem,
        created,
        locked,
        discard,
        named: true,
        location: path,
        identity: `${dev}:${ino}`,
      };
    } catch (error) {
      if (made) {
        unlinkSync(path);
      }
      closeSync(descriptor);
      throw error;
    }
  }
}

/** Nobody but who made the file knows that it is not wanted, unless somebody has put something in it, or in its place. */
function removeUnused(descriptor: number, path: string): void {
  const { dev, ino, blocks } = fstatSync(descriptor);
  const found = statSync(path, { throwIfNoEntry: false });
  if (blocks === 0 && found?.dev === dev && found.ino === ino) {
    unlinkSync(path);
  }
}

/** Makes a file in a directory that goes when it is closed. QEMU does so for a `mem-path` that is a directory. */
export function openUnnamed(folder: string, properties: FileProperties): OpenFile {
  const path = join(folder, `cpr-ram-${crypto.randomUUID()}`);
  const { descriptor } = openOrCreate(path, false);
  try {
    unlinkSync(path);
    const fileSystem = fileSystemOf(folder);
    const created = prepare(descriptor, folder, fileSystem, properties);
    const { dev, ino } = fstatSync(descriptor);
    return {
      descriptor,
      fileSystem,
      created,
      locked: true,
      named: false,
      location: `${folder} (no name)`,
      identity: `${dev}:${ino}`,
    };
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

function look(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (cause) {
    throw openFailure(path, cause);
  }
}

function kindOf(found: Stats): string {
  return found.isSocket()
    ? "a socket"
    : found.isFIFO()
      ? "a FIFO"
      : found.isBlockDevice()
        ? "a block device"
        : "a character device";
}

function openOrCreate(path: string, readOnly: boolean): { descriptor: number; made: boolean } {
  const { O_CREAT, O_EXCL, O_RDONLY, O_RDWR } = constants;
  for (;;) {
    try {
      return { descriptor: openSync(path, readOnly ? O_RDONLY : O_RDWR), made: false };
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== "ENOENT" || readOnly || dirname(resolve(path)) === deviceFolder) {
        throw openFailure(path, cause);
      }
    }
    try {
      return { descriptor: openSync(path, O_RDWR | O_CREAT | O_EXCL, ownerOnly), made: true };
    } catch (cause) {
      // EEXIST: somebody else made it just now, so there is a file to open. A link to nowhere is no such file.
      if (
        (cause as NodeJS.ErrnoException).code !== "EEXIST" ||
        statSync(path, { throwIfNoEntry: false }) === undefined
      ) {
        throw openFailure(path, cause);
      }
    }
  }
}

function openFailure(path: string, cause: unknown): Error {
  const { code } = cause as NodeJS.ErrnoException;
  const remedy =
    code !== "ENOENT"
      ? undefined
      : dirname(resolve(path)) === deviceFolder
        ? "There is no such device: `daxctl list` and `ndctl list -Ni` tell which there are, and are not enabled."
        : `Make the directory first: mkdir -p ${dirname(path)}`;
  return memoryErrors.ERR_CPR_MEMORY_OPEN({ path, reason: reasonOf(cause), remedy }, { cause });
}

/** Gives an empty file its size, and refuses one of another size. Tells whether it was empty. */
function prepare(descriptor: number, path: string, fileSystem: FileSystem, properties: FileProperties): boolean {
  const { size, prealloc = false, readonly = false, pmem = false } = properties;
  if (pmem && !canMapSynchronously(descriptor)) {
    throw memoryErrors.ERR_CPR_MEMORY_PMEM({ path });
  }
  const { size: actual, blocks } = fstatSync(descriptor);
  if (actual !== 0 && actual !== size) {
    throw memoryErrors.ERR_CPR_MEMORY_FILE_SIZE({ path, size, actual });
  }
  const { hugePageSize, available } = fileSystem;
  if (hugePageSize !== undefined && size % hugePageSize !== 0) {
    throw memoryErrors.ERR_CPR_MEMORY_PAGE_SIZE({ location: path, size, pageSize: hugePageSize });
  }
  if (readonly) {
    if (actual === 0) {
      throw memoryErrors.ERR_CPR_MEMORY_FILE_SIZE({ path, size, actual });
    }
    return false;
  }
  // Guest RAM that meets a full file system is a SIGBUS, which ends the process and loses the guest.
  if (size - blocks * 512 > available) {
    throw memoryErrors.ERR_CPR_MEMORY_NO_SPACE({ path, size, available });
  }
  try {
    // What is as it should be is not touched: the time at which a file was written to last belongs to its checkpoint.
    if (actual !== size) {
      ftruncateSync(descriptor, size);
    }
    if (prealloc && blocks * 512 < size) {
      reserve(descriptor, 0, size);
    }
  } catch (cause) {
    const { code, syscall } = cause as NodeJS.ErrnoException;
    // A file system that cannot reserve room is filled when the pages are populated.
    if (syscall !== "fallocate" || (code !== "ENOTSUP" && code !== "ENOSYS")) {
      ftruncateSync(descriptor, actual);
      throw code === "ENOSPC" || code === "EFBIG" || code === "EDQUOT"
        ? memoryErrors.ERR_CPR_MEMORY_NO_SPACE({ path, size }, { cause })
        : openFailure(path, cause);
    }
  }
  return actual === 0;
}
