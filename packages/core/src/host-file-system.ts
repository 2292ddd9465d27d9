import { statfsSync } from "node:fs";

/** What kind of file system a path of the host lies on, so far as it matters for RAM and checkpoints. */
export interface HostFileSystem {
  readonly kind: "tmpfs" | "ramfs" | "hugetlbfs" | "other";
  /** What is on it is found again after the host's kernel was replaced. */
  readonly survivesReboot: boolean;
}

/** linux/magic.h: those that have their contents in the memory of the kernel. */
const volatileKinds: Readonly<Record<number, HostFileSystem["kind"]>> = {
  16914836: "tmpfs",
  2240043254: "ramfs",
  2508478710: "hugetlbfs",
};

/** Looks at the file system of a path that exists. @throws what statfs(2) does */
export function hostFileSystem(path: string): HostFileSystem {
  const kind = volatileKinds[statfsSync(path).type] ?? "other";
  return { kind, survivesReboot: kind === "other" };
}
