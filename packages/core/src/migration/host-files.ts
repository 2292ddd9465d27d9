import { stat } from "node:fs/promises";
import type { HostFile } from "../device.ts";
import { migrationErrors } from "../errors/migration-errors.ts";
import type { FileFacts } from "../stream/description-section.ts";
import type { MigrationSubject } from "./subject.ts";

/** The files of the host that the devices of a VM depend on. */
export function hostFilesOf({ devices }: MigrationSubject): readonly HostFile[] {
  return devices.flatMap(({ hostFiles }) => hostFiles);
}

/** What the files are like now. @throws {CprError} ERR_CPR_HOST_FILE */
export async function observeFiles(files: readonly HostFile[]): Promise<readonly FileFacts[]> {
  return Promise.all(
    files.map(async ({ id, path }) => {
      const facts = await stat(path, { bigint: true }).catch((cause: unknown) => {
        const reason = cause instanceof Error ? cause.message : String(cause);
        throw migrationErrors.ERR_CPR_HOST_FILE({ id, path, reason }, { cause });
      });
      if (!facts.isFile()) {
        // The node of a device tells nothing of what is on it, and is made anew at every boot.
        return { id, path, size: 0, modified: "0", inode: "0" };
      }
      return { id, path, size: Number(facts.size), modified: String(facts.mtimeNs), inode: String(facts.ino) };
    }),
  );
}

/**
 * Checks that files are what they were when the VM was saved. Their paths may differ: the same file may have another
 * name.
 *
 * @param accepted - ids of files that may have changed.
 * @throws {CprError} ERR_CPR_HOST_FILE_CHANGED, ERR_CPR_HOST_FILE
 */
export async function checkFiles(
  files: readonly HostFile[],
  recorded: readonly FileFacts[],
  accepted: readonly string[],
): Promise<void> {
  const present = await observeFiles(files.filter(({ id }) => !accepted.includes(id)));
  for (const file of present) {
    const before = recorded.find(({ id }) => id === file.id);
    const changes = before === undefined ? ["the checkpoint does not know it"] : differences(before, file);
    if (changes.length > 0) {
      throw migrationErrors.ERR_CPR_HOST_FILE_CHANGED({ id: file.id, path: file.path, changes });
    }
  }
  const lost = recorded.find(({ id }) => !accepted.includes(id) && !files.some((file) => file.id === id));
  if (lost !== undefined) {
    const { id, path } = lost;
    throw migrationErrors.ERR_CPR_HOST_FILE_CHANGED({ id, path, changes: ["no device uses it any more"] });
  }
}

function differences(before: FileFacts, now: FileFacts): readonly string[] {
  return [
    ...(now.size === before.size ? [] : [`its size was ${before.size} bytes and is ${now.size}`]),
    ...(now.modified === before.modified
      ? []
      : [`it was modified at ${timeOf(before.modified)} and then at ${timeOf(now.modified)}`]),
    ...(now.inode === before.inode ? [] : [`it is another file: its inode was ${before.inode} and is ${now.inode}`]),
  ];
}

function timeOf(nanoseconds: string): string {
  const milliseconds = Number(nanoseconds) / 1e6;
  return Math.abs(milliseconds) <= 8.64e15 ? new Date(milliseconds).toISOString() : `${nanoseconds} ns`;
}
