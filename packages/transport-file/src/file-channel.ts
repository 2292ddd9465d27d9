import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import type { TransportChannel } from "@cpr/core";
import { type FileErrorFactory, fileError, fileErrors } from "./errors.ts";
import type { OpenFile } from "./open-file.ts";

/** How a channel of an open file is opened. */
export interface FileChannelOptions {
  /** O_RDONLY or O_WRONLY. */
  readonly flags: number;
  readonly direct: boolean;
  /** Where the stream begins in the file. */
  readonly start: number;
  /** For errors. */
  readonly uri: string;
  readonly path: string;
  /** The error of a read or write that fails. */
  readonly failed: FileErrorFactory;
}

/**
 * Opens a file that is open once more. It is the same file even if its name belongs to another one meanwhile.
 *
 * @throws {CprError} ERR_CPR_FILE_OPEN, or ERR_CPR_FILE_DIRECT if its file system cannot bypass the page cache.
 */
export async function openFileChannel(file: OpenFile, options: FileChannelOptions): Promise<TransportChannel> {
  const { flags, direct, start, uri, path, failed } = options;
  let handle: FileHandle;
  try {
    handle = await open(`/proc/self/fd/${file.fd}`, flags | (direct ? constants.O_DIRECT : 0));
  } catch (cause) {
    if (direct && (cause as NodeJS.ErrnoException).code === "EINVAL") {
      throw fileErrors.ERR_CPR_FILE_DIRECT({ uri, path, reason: "filesystem does not support O_DIRECT" }, { cause });
    }
    throw fileError(fileErrors.ERR_CPR_FILE_OPEN, uri, path, cause);
  }
  return {
    descriptor: handle.fd,
    start,
    failure: (cause) => fileError(failed, uri, path, cause),
    close: () => handle.close(),
  };
}
