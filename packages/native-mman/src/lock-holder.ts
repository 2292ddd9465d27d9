import { readdirSync, readFileSync, statSync } from "node:fs";

/**
 * The process that holds a lock on a file, if it can be told: the kernel does not say whose an open file description
 * is, so all processes that this one may look into are searched for a locked descriptor of the file.
 *
 * @param file - device and inode, as `fs.fstatSync` gives them.
 */
export function findLockHolder(file: { readonly dev: number; readonly ino: number }): number | undefined {
  for (const process of entriesOf("/proc")) {
    if (!/^\d+$/.test(process)) {
      continue;
    }
    for (const descriptor of entriesOf(`/proc/${process}/fd`)) {
      if (isLockedDescriptor(process, descriptor, file)) {
        return Number(process);
      }
    }
  }
  return undefined;
}

function isLockedDescriptor(process: string, descriptor: string, file: { dev: number; ino: number }): boolean {
  try {
    const { dev, ino } = statSync(`/proc/${process}/fd/${descriptor}`);
    return (
      dev === file.dev &&
      ino === file.ino &&
      /^lock:/m.test(readFileSync(`/proc/${process}/fdinfo/${descriptor}`, "latin1"))
    );
  } catch {
    // It was closed meanwhile, or is another user's: either way, it tells nothing.
    return false;
  }
}

function entriesOf(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
