import { mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { removeFile, replaceFile } from "../durable-file.ts";
import { stateFolder } from "../state-folder.ts";
import type { MigrationSubject } from "./subject.ts";

// The right to go on from a checkpoint as if nothing had happened, which one VM has: the first that loads it, or the one that was saved.
// It is a file in the state folder, named by the checkpoint's generation, and whoever removes it has the right. Where there is none, the
// guest may go on for the second time: the checkpoint was loaded before, or is a copy that has come from another host. So what is lost
// or cannot be written does no harm, and the rights to checkpoints that nobody loads are removed when there are many.

/** How many rights are kept. */
const mostRights = 1024;

const folder = (): string => join(stateFolder(), "continuations");
const pathOf = (generation: string): string => join(folder(), generation);

/** Whether a VM has devices for which it matters whether its guest goes on twice from the same state. */
export function noticesBranch({ devices }: MigrationSubject): boolean {
  return devices.some((device) => device.noticesBranch === true);
}

/** Lets one VM go on from the checkpoint of that generation. @throws {Error} the system's */
export function grantContinuation(generation: string): void {
  mkdirSync(folder(), { recursive: true });
  forgetOldest();
  replaceFile(pathOf(generation), "cpr continuation\n");
}

/** Takes the right to go on. Returns whether it was still there; nobody else gets it then, even if the host crashes. */
export function takeContinuation(generation: string): boolean {
  try {
    return removeFile(pathOf(generation));
  } catch {
    return false;
  }
}

/** Makes room for one more right. */
function forgetOldest(): void {
  const paths = readdirSync(folder()).map(pathOf);
  if (paths.length < mostRights) {
    return;
  }
  const dated = paths.map((path) => ({ path, written: statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0 }));
  for (const { path } of dated.sort((one, other) => other.written - one.written).slice(mostRights - 1)) {
    rmSync(path, { force: true });
  }
}
