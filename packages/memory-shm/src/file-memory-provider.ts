import { stat } from "node:fs/promises";
import {
  type MemoryBacking,
  type MemoryObjectOptions,
  type MemoryProvider,
  type MemorySupports,
  machineErrors,
  memoryErrors,
  type OpenMemoryOptions,
} from "@cpr/core";
import { MappedMemory, pageSize } from "@cpr/native-mman";
import { type OpenFile, openNamed, openUnnamed } from "./open-file.ts";

/** Where files without a name are made for `memory-backend-shm`: the file system of shm_open(3). */
const sharedMemoryFolder = "/dev/shm";

/**
 * RAM in a file.
 *
 * - `memory-backend-file` on tmpfs (`mem-path=/dev/shm/ram0`), hugetlbfs or any other file system. The file is made
 *   with the object's size if there is none, or if it is empty; a file of another size is refused and left alone. As
 *   in QEMU, `share=off` is the default and means a copy-on-write clone of the file's contents, and a `mem-path` that
 *   is a directory means a file in it without a name.
 * - `memory-backend-shm`: a file without a name on `/dev/shm`.
 *
 * A VM that shares the file holds an exclusive lock on it, clones hold shared ones. Unlike QEMU, which makes files with
 * mode 0644, only the owner can read them: they hold the guest's secrets.
 */
export class FileMemoryProvider implements MemoryProvider {
  readonly name = "shm";
  readonly objectTypes = ["memory-backend-file", "memory-backend-shm"];
  readonly supports: MemorySupports = { shared: true, survivesProcessExit: true, survivesReboot: true };

  async accepts({ type, "mem-path": path }: MemoryObjectOptions): Promise<boolean> {
    if (type === "memory-backend-shm") {
      return true;
    }
    if (type !== "memory-backend-file") {
      return false;
    }
    // What cannot be looked at is left to `open`, which says why.
    const found = path === undefined ? undefined : await stat(path).catch(() => undefined);
    return found?.isCharacterDevice() !== true;
  }

  /**
   * @throws {CprError} ERR_CPR_NATIVE_UNAVAILABLE, ERR_CPR_MEMORY_SIZE, ERR_CPR_MEMORY_PROPERTY, ERR_CPR_MEMORY_OPEN,
   * ERR_CPR_MEMORY_KIND, ERR_CPR_MEMORY_BUSY, ERR_CPR_MEMORY_FILE_SIZE, ERR_CPR_MEMORY_PAGE_SIZE,
   * ERR_CPR_MEMORY_NO_SPACE
   */
  async open(options: MemoryObjectOptions, { waiting = false }: OpenMemoryOptions = {}): Promise<MemoryBacking> {
    const { id, size, prealloc = false, align, pmem = false } = options;
    if (!Number.isSafeInteger(size) || size <= 0 || size % pageSize() !== 0) {
      throw machineErrors.ERR_CPR_MEMORY_SIZE({ id, size });
    }
    const share = checkProperties(options);
    const file =
      options.type === "memory-backend-shm"
        ? openUnnamed(sharedMemoryFolder, options)
        : openPath(options, share, waiting);
    const synchronous = share && pmem;
    return new MappedMemory({
      id,
      size,
      supports: {
        shared: share,
        survivesProcessExit: share && file.named,
        survivesReboot: share && file.named && file.fileSystem.survivesReboot,
      },
      location: file.location,
      identity: share && file.named ? file.identity : undefined,
      created: file.created,
      descriptor: file.descriptor,
      ...(share && file.named ? { locked: file.locked } : {}),
      discard: file.discard,
      visibility: share ? "shared" : "private",
      synchronous,
      prealloc,
      alignment: Math.max(align ?? 1, file.fileSystem.hugePageSize ?? 1),
      // With DAX the kernel knows nothing of some stores; the time of the last one is always its.
      durability: [
        ...(synchronous ? (["cache"] as const) : []),
        ...(file.fileSystem.survivesReboot ? (["file"] as const) : []),
      ],
    });
  }
}

/** Refuses combinations that cannot be had, and tells whether the file is shared. */
function checkProperties(options: MemoryObjectOptions): boolean {
  const { id, type, align, readonly = false } = options;
  const isFile = type === "memory-backend-file";
  const share = options.share ?? !isFile;
  const wrong = (property: string, reason: string) =>
    memoryErrors.ERR_CPR_MEMORY_PROPERTY({ id, type, property, reason });
  if (!isFile && !share) {
    throw wrong("share", "cannot be off: use memory-backend-ram for private RAM");
  }
  if (readonly && share) {
    throw wrong("readonly", "needs share=off: the guest writes to its RAM");
  }
  if (align !== undefined && !(align > 0 && Number.isInteger(Math.log2(align)))) {
    throw wrong("align", "must be a power of two");
  }
  return share;
}

function openPath(options: MemoryObjectOptions, share: boolean, waiting: boolean): OpenFile {
  const { id, type, "mem-path": path } = options;
  if (path === undefined || path === "") {
    throw memoryErrors.ERR_CPR_MEMORY_PROPERTY({ id, type, property: "mem-path", reason: "is missing" });
  }
  return openNamed(path, options, { share, waiting });
}
