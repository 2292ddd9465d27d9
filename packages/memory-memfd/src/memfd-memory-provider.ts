import { closeSync, ftruncateSync } from "node:fs";
import {
  type MemoryBacking,
  type MemoryObjectOptions,
  type MemoryProvider,
  type MemorySupports,
  machineErrors,
  memoryErrors,
} from "@cpr/core";
import { createMemfd, MappedMemory, pageSize, reasonOf, reserve } from "@cpr/native-mman";

/**
 * RAM in an anonymous file (memfd_create(2)): `memory-backend-memfd`, shared unless `share=off`, and as in QEMU 10
 * also `memory-backend-ram,share=on`. It can be handed to another process as a descriptor, but it has no name, so
 * nobody finds it again when the process is gone.
 */
export class MemfdMemoryProvider implements MemoryProvider {
  readonly name = "memfd";
  readonly objectTypes = ["memory-backend-memfd", "memory-backend-ram"];
  readonly supports: MemorySupports = { shared: true, survivesProcessExit: false, survivesReboot: false };

  async accepts({ type, share }: MemoryObjectOptions): Promise<boolean> {
    return type === "memory-backend-memfd" || (type === "memory-backend-ram" && share === true);
  }

  /**
   * @throws {CprError} ERR_CPR_NATIVE_UNAVAILABLE, ERR_CPR_MEMORY_SIZE, ERR_CPR_MEMORY_PAGE_SIZE,
   * ERR_CPR_MEMORY_PROPERTY, ERR_CPR_MEMORY_PREALLOC, ERR_CPR_MEMORY_OPEN
   */
  async open(options: MemoryObjectOptions): Promise<MemoryBacking> {
    const { id, size, share = true, prealloc = false } = options;
    if (!Number.isSafeInteger(size) || size <= 0 || size % pageSize() !== 0) {
      throw machineErrors.ERR_CPR_MEMORY_SIZE({ id, size });
    }
    const hugePageSize = hugePageSizeOf(options);
    if (hugePageSize !== undefined && hugePageSize !== 0 && size % hugePageSize !== 0) {
      throw memoryErrors.ERR_CPR_MEMORY_PAGE_SIZE({ location: "memfd", size, pageSize: hugePageSize });
    }
    const descriptor = create(id, hugePageSize);
    try {
      ftruncateSync(descriptor, size);
      if (prealloc) {
        reserve(descriptor, 0, size);
      }
    } catch (cause) {
      closeSync(descriptor);
      if ((cause as NodeJS.ErrnoException).syscall === "fallocate") {
        throw memoryErrors.ERR_CPR_MEMORY_PREALLOC({ location: "memfd", reason: reasonOf(cause) }, { cause });
      }
      // The only reason left: the default huge page size is not known, and the size is no multiple of it.
      throw memoryErrors.ERR_CPR_MEMORY_OPEN({ path: "memfd", reason: reasonOf(cause) }, { cause });
    }
    return new MappedMemory({
      id,
      size,
      supports: { ...this.supports, shared: share },
      location: "memfd",
      identity: undefined,
      created: true,
      descriptor,
      visibility: share ? "shared" : "private",
      prealloc,
      durability: [],
      ...(hugePageSize === undefined || hugePageSize === 0 ? {} : { alignment: hugePageSize }),
    });
  }
}

/** The huge page size that an object asks for: 0 is the kernel's default, undefined means ordinary pages. */
function hugePageSizeOf({ id, type, hugetlb, hugetlbsize }: MemoryObjectOptions): number | undefined {
  const wrong = (reason: string) => memoryErrors.ERR_CPR_MEMORY_PROPERTY({ id, type, property: "hugetlbsize", reason });
  if (hugetlbsize === undefined) {
    return hugetlb === true ? 0 : undefined;
  }
  if (hugetlb !== true) {
    throw wrong("needs hugetlb=on");
  }
  if (!Number.isInteger(Math.log2(hugetlbsize)) || hugetlbsize <= pageSize()) {
    throw wrong("is not a power of two above the ordinary page size");
  }
  return hugetlbsize;
}

function create(id: string, hugePageSize: number | undefined): number {
  try {
    return createMemfd(id, hugePageSize === undefined ? {} : { hugePageSize });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).syscall !== "memfd_create") {
      throw cause;
    }
    const remedy =
      hugePageSize === undefined ? undefined : "See /sys/kernel/mm/hugepages for the huge page sizes that there are.";
    throw memoryErrors.ERR_CPR_MEMORY_OPEN({ path: "memfd", reason: reasonOf(cause), remedy }, { cause });
  }
}
