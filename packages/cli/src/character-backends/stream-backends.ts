import { closeSync, openSync, writeSync } from "node:fs";
import type { CharacterBackend } from "@cpr/core";
import { cliErrors } from "../cli-errors.ts";

/** Drops guest output. */
export const nullBackend: CharacterBackend = { filename: "null", write: () => undefined };

/** Standard output; what comes from standard input goes another way, since the monitor may have it. */
export const standardBackend: CharacterBackend = {
  filename: "stdio",
  write: (bytes) => {
    const { stdout } = process;
    return stdout.write(bytes) ? undefined : new Promise((resolve) => stdout.once("drain", resolve));
  },
};

/**
 * Writes guest output to a file that is emptied first, unless it is to be appended to.
 *
 * @throws {CprError} ERR_CPR_OUTPUT_FILE
 */
export function fileBackend(path: string, append: boolean): CharacterBackend {
  let descriptor: number;
  try {
    descriptor = openSync(path, append ? "a" : "w", 0o644);
  } catch (cause) {
    throw cliErrors.ERR_CPR_OUTPUT_FILE({ path, reason: (cause as NodeJS.ErrnoException).code ?? "error" }, { cause });
  }
  return {
    filename: "file",
    write: (bytes) => {
      for (let at = 0; at < bytes.length; ) {
        at += writeSync(descriptor, bytes, at);
      }
      return undefined;
    },
    close: async () => closeSync(descriptor),
  };
}
