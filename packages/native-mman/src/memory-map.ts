import { addon, checked } from "./addon.ts";

/** Size of a page of the host in bytes. @throws {CprError} ERR_CPR_NATIVE_UNAVAILABLE */
export function pageSize(): number {
  return addon().pageSize;
}

/** Host virtual address of the first byte of a view. It stays the same as long as the buffer lives. */
export function addressOf(view: Uint8Array): bigint {
  return addon().addressOf(view);
}

/** Ranges begin at a multiple of a huge page's size, if they are as long as one. */
const hugePages = [2 ** 30, 2 ** 21] as const;

/**
 * Reserves address space: memory that is zero and takes no host memory until it is touched. It belongs to the buffers that show it,
 * in this thread and in others ({@link attachMemory}), and ends with the last of them.
 *
 * @param alignment - a power of two of which its address is a multiple.
 * @throws {Error} with `code` if there is no room.
 */
export function reserveMemory(size: number, alignment = 1): Uint8Array {
  const usual = hugePages.find((huge) => size >= huge) ?? pageSize();
  const buffer = addon().reserve(size, Math.max(usual, alignment));
  if (typeof buffer === "number") {
    checked("mmap", buffer);
    throw new TypeError("mmap gave no memory");
  }
  return new Uint8Array(buffer);
}

/**
 * Shows in this thread what another one has reserved.
 *
 * @throws {RangeError} if nothing of that size was reserved at that address.
 */
export function attachMemory(address: bigint, size: number): Uint8Array {
  return new Uint8Array(addon().attach(address, size));
}

/** What {@link mapOver} maps, and how. */
export interface MapOptions {
  readonly descriptor: number;
  /** Where in the object the mapping begins, in bytes: a multiple of the object's page size. 0 by default. */
  readonly offset?: number;
  /** `shared`: stores go to the object. `private`: a store copies the page, the object stays as it is. */
  readonly visibility: "shared" | "private";
  /** Stores that were flushed from the CPU's caches are durable (MAP_SYNC): only a file or device with DAX can do it. */
  readonly synchronous?: boolean;
}

// Values of the x86-64 and arm64 Linux ABI (asm-generic/mman-common.h, asm-generic/mman.h).
const PROT_READ_WRITE = 0x3;
const MAP_SHARED = 0x01;
const MAP_PRIVATE = 0x02;
const MAP_SHARED_VALIDATE = 0x03;
const MAP_SYNC = 0x80000;
const MADV_POPULATE_WRITE = 23;

/**
 * Maps an object over the pages of a view: afterwards, the view's bytes are the object's (mmap(2) with MAP_FIXED).
 *
 * The view must be of a buffer that neither moves nor grows and that nothing else was allocated in: a
 * `WebAssembly.Memory` whose initial size is its maximum, or what {@link reserveMemory} gave. What the pages held before is gone.
 *
 * @throws {RangeError} if the view does not begin and end at a page boundary.
 * @throws {Error} with `code` and `syscall`: `EINVAL` also means that the address or the offset is not a multiple of a
 * huge page's size where the object has huge pages.
 */
export function mapOver(target: Uint8Array, options: MapOptions): void {
  const { descriptor, offset = 0, visibility, synchronous = false } = options;
  const flags = visibility === "private" ? MAP_PRIVATE : synchronous ? MAP_SHARED_VALIDATE | MAP_SYNC : MAP_SHARED;
  checked("mmap", addon().mmap(target, PROT_READ_WRITE, flags, descriptor, offset));
}

/**
 * Makes the pages of a view present and writable without changing them, so that the first store to each costs
 * nothing and cannot fail (madvise(2) MADV_POPULATE_WRITE, Linux 5.14).
 *
 * @throws {Error} with `code`: `EFAULT` or `ENOMEM` if there is no memory for them, `EINVAL` on an older kernel.
 */
export function populate(view: Uint8Array): void {
  checked("madvise", addon().madvise(view, MADV_POPULATE_WRITE));
}

/** How many threads write caches back, and how much each of them does at a time. */
const flushThreads = 4;
const flushPart = 2 ** 24;

/**
 * Writes the processors' cached lines of a view back to memory, as stores to persistent memory need in order to be durable.
 *
 * @param ranges - which parts, as [start, end) byte offsets; all of it if they are not given.
 */
export async function flushCache(
  view: Uint8Array,
  ranges: readonly (readonly [number, number])[] = [[0, view.length]],
): Promise<void> {
  const shares: number[][] = Array.from({ length: flushThreads }, () => []);
  let parts = 0;
  for (const [start, end] of ranges) {
    for (let at = start; at < end; at += flushPart) {
      shares[parts++ % flushThreads]?.push(at, Math.min(at + flushPart, end));
    }
  }
  await Promise.all(
    shares.filter(({ length }) => length > 0).map((share) => addon().flushCache(view, Float64Array.from(share))),
  );
}

/** The instruction of {@link flushCache}: the best that this processor has. */
export function cacheFlushInstruction(): "clwb" | "clflushopt" | "clflush" {
  return addon().cacheFlushInstruction;
}

/**
 * Whether an object can be mapped with {@link MapOptions.synchronous}: it is a device with DAX or a file on a file system with it.
 *
 * @param descriptor - of a file that has a page at least, open for writing.
 */
export function canMapSynchronously(descriptor: number): boolean {
  try {
    checked("mmap", addon().probeMap(MAP_SHARED_VALIDATE | MAP_SYNC, descriptor));
    return true;
  } catch (error) {
    if (["ENOTSUP", "EOPNOTSUPP"].includes((error as NodeJS.ErrnoException).code ?? "")) {
      return false;
    }
    throw error;
  }
}
