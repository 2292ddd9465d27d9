import { addon, checked } from "./addon.ts";

/** Options of {@link createMemfd}. */
export interface MemfdOptions {
  /** Size of the huge pages to use, in bytes: a power of two. 0 means the kernel's default huge page size. */
  readonly hugePageSize?: number;
}

// linux/memfd.h
const MFD_CLOEXEC = 0x1;
const MFD_HUGETLB = 0x4;
const MFD_HUGE_SHIFT = 26;

/**
 * Makes an anonymous file in memory and gives its descriptor, which is closed on exec (memfd_create(2)).
 *
 * @param name - shows up in `/proc/PID/fd`; it need not be unique.
 */
export function createMemfd(name: string, options: MemfdOptions = {}): number {
  const { hugePageSize } = options;
  const huge = hugePageSize === undefined ? 0 : MFD_HUGETLB;
  const size = hugePageSize === undefined || hugePageSize === 0 ? 0 : Math.log2(hugePageSize) << MFD_HUGE_SHIFT;
  return checked("memfd_create", addon().memfdCreate(name, MFD_CLOEXEC | huge | size));
}

/**
 * Reserves room for a range of a file, so that stores through a mapping cannot run out of it (fallocate(2)). Contents
 * do not change.
 *
 * @throws {Error} with `code`: `ENOSPC` if there is not enough room, `ENOTSUP` if the file system cannot do it.
 */
export function reserve(descriptor: number, offset: number, length: number): void {
  checked("fallocate", addon().fallocate(descriptor, 0, offset, length));
}

// linux/falloc.h
const FALLOC_FL_KEEP_SIZE = 0x1;
const FALLOC_FL_PUNCH_HOLE = 0x2;
const FALLOC_FL_ZERO_RANGE = 0x10;

/** Gives the room of a range of a file back; it reads as zero then, also through a mapping (fallocate(2)). */
export function punchHole(descriptor: number, offset: number, length: number): void {
  checked("fallocate", addon().fallocate(descriptor, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, offset, length));
}

/** The same as {@link punchHole} on a file or block device, by another thread. */
export async function punchHoleLater(descriptor: number, offset: number, length: number): Promise<void> {
  const mode = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE;
  checked("fallocate", await addon().allocateRange(descriptor, mode, offset, length));
}

/**
 * Makes a range of a file or block device read as zero and keep its room, by another thread (fallocate(2)).
 *
 * @throws {Error} with `code` `ENOTSUP` if the file system cannot do it.
 */
export async function zeroRange(descriptor: number, offset: number, length: number): Promise<void> {
  checked("fallocate", await addon().allocateRange(descriptor, FALLOC_FL_ZERO_RANGE, offset, length));
}

/** Bytes in a logical block of a block device (linux/fs.h BLKSSZGET). */
export function logicalBlockSize(descriptor: number): number {
  return checked("ioctl", addon().logicalBlockSize(descriptor));
}

/** A part of a file for a lock; it need not have been written. */
export interface LockRange {
  readonly start: number;
  /** Bytes; 0 means all that follows. */
  readonly length: number;
}

// fcntl.h
const lockTypes = { shared: 0, exclusive: 1, none: 2 } as const;
const wholeFile: LockRange = { start: 0, length: 0 };

/**
 * Takes, changes or releases a lock on a file or a part of it; gives `false` if somebody has one that conflicts.
 *
 * The lock belongs to the open file description (fcntl(2) F_OFD_SETLK): it conflicts with a second opening of the
 * file in the same process too, and ends when the last copy of the descriptor is closed and the last mapping that was
 * made with it is gone. It is advisory.
 */
export function tryLock(descriptor: number, type: keyof typeof lockTypes, { start, length } = wholeFile): boolean {
  try {
    checked("fcntl", addon().lock(descriptor, lockTypes[type], start, length));
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EAGAIN" || code === "EACCES") {
      return false;
    }
    throw error;
  }
}

/** Whether an exclusive lock would conflict with somebody's; none is taken. */
export function isLocked(descriptor: number, { start, length }: LockRange): boolean {
  return checked("fcntl", addon().findLock(descriptor, lockTypes.exclusive, start, length)) !== 0;
}

// unistd.h
const SEEK_END = 2;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/** Bytes of a file or block device (lseek(2)). */
export function sizeOf(descriptor: number): number {
  return checked("lseek", addon().lseek(descriptor, 0, SEEK_END));
}

/**
 * The parts of a file that are not holes, as [start, end) pairs in ascending order (lseek(2) SEEK_DATA, SEEK_HOLE).
 * A file system that does not know its holes gives the whole file.
 */
export function dataRangesOf(descriptor: number, size: number): [number, number][] {
  const ranges: [number, number][] = [];
  for (let end = 0; end < size; ) {
    let start: number;
    try {
      start = checked("lseek", addon().lseek(descriptor, end, SEEK_DATA));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENXIO") {
        break;
      }
      throw error;
    }
    if (start >= size) {
      break;
    }
    end = Math.min(size, checked("lseek", addon().lseek(descriptor, start, SEEK_HOLE)));
    ranges.push([start, end]);
  }
  return ranges;
}
