import { statfsSync } from "node:fs";

/** What kind of file system a path of the host lies on, so far as it matters for RAM and checkpoints. */
export interface HostFileSystem {
  readonly kind: "tmpfs" | "ramfs" | "hugetlbfs" | "other";
  /** What is on it is found again after the host's kernel was replaced. */
  readonly survivesReboot: boolean;
}

// linux/magic.h
const TMPFS_MAGIC = 0x0102_1994;
const RAMFS_MAGIC = 0x8584_58f6;
const HUGETLBFS_MAGIC = 0x9584_58f6;

/** Those that have their contents in the memory of the kernel. */
const volatileKinds: ReadonlyMap<number, HostFileSystem["kind"]> = new Map([
  [TMPFS_MAGIC, "tmpfs"],
  [RAMFS_MAGIC, "ramfs"],
  [HUGETLBFS_MAGIC, "hugetlbfs"],
]);

/** Looks at the file system of a path that exists. @throws what statfs(2) does */
export function hostFileSystem(path: string): HostFileSystem {
  const kind = volatileKinds.get(statfsSync(path).type) ?? "other";
  return { kind, survivesReboot: kind === "other" };
}
