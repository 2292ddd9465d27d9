import { statfsSync } from "node:fs";
import { type HostFileSystem, hostFileSystem } from "@cpr/core";

/** What matters of the file system that RAM lies on. */
export interface FileSystem extends HostFileSystem {
  /** Size of its pages if they are huge ones, else undefined. */
  readonly hugePageSize: number | undefined;
  /** Bytes that are free for this user. */
  readonly available: number;
}

/** Looks at the file system of a path that exists. */
export function fileSystemOf(path: string): FileSystem {
  const found = hostFileSystem(path);
  const { bsize, blocks, bavail } = statfsSync(path);
  // A tmpfs or hugetlbfs without a limit tells 0 blocks in all; ramfs has none to tell.
  const unlimited = found.kind === "ramfs" || (bavail === 0 && blocks === 0);
  return {
    ...found,
    hugePageSize: found.kind === "hugetlbfs" ? bsize : undefined,
    available: unlimited ? Number.POSITIVE_INFINITY : bsize * bavail,
  };
}
