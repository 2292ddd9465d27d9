import { statfsSync } from "node:fs";

/** What matters of the file system that RAM lies on. */
export interface FileSystem {
  /** Its contents are gone when the host's kernel is replaced. */
  readonly volatile: boolean;
  /** Size of its pages if they are huge ones, else undefined. */
  readonly hugePageSize: number | undefined;
  /** Bytes that are free for this user. */
  readonly available: number;
}

// linux/magic.h
const TMPFS_MAGIC = 0x0102_1994;
const RAMFS_MAGIC = 0x8584_58f6;
const HUGETLBFS_MAGIC = 0x9584_58f6;

/** Looks at the file system of a path that exists. */
export function fileSystemOf(path: string): FileSystem {
  const { type, bsize, bavail } = statfsSync(path);
  const isHuge = type === HUGETLBFS_MAGIC;
  return {
    volatile: isHuge || type === TMPFS_MAGIC || type === RAMFS_MAGIC,
    hugePageSize: isHuge ? bsize : undefined,
    // A tmpfs or hugetlbfs without a limit tells 0 blocks in all; ramfs has none to tell.
    available:
      type === RAMFS_MAGIC || (bavail === 0 && statfsSync(path).blocks === 0)
        ? Number.POSITIVE_INFINITY
        : bsize * bavail,
  };
}
