import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import type { ChannelOptions, TransportChannel, TransportSource } from "@cpr/core";
import { fileError, fileErrors } from "./errors.ts";
import { openFileChannel } from "./file-channel.ts";
import { checkKind } from "./file-sink.ts";
import type { FileLocation } from "./file-uri.ts";

/** Reads a stream from a file. */
export class FileSource implements TransportSource {
  readonly #uri: string;
  readonly #path: string;
  readonly #handle: FileHandle;
  /** Where the stream begins; undefined if the file has no positions. */
  readonly #start: number | undefined;
  readonly #signal: AbortSignal | undefined;
  #position = 0;
  #open = true;

  private constructor(
    uri: string,
    path: string,
    handle: FileHandle,
    start: number | undefined,
    signal: AbortSignal | undefined,
  ) {
    this.#uri = uri;
    this.#path = path;
    this.#handle = handle;
    this.#start = start;
    this.#signal = signal;
  }

  /** @throws {CprError} ERR_CPR_FILE_OPEN */
  static async open(uri: string, { path, offset }: FileLocation, signal: AbortSignal | undefined): Promise<FileSource> {
    try {
      const handle = await open(path, "r");
      try {
        const present = await handle.stat();
        checkKind(present);
        signal?.throwIfAborted();
        const start = present.isFile() || present.isBlockDevice() ? (offset ?? 0) : undefined;
        return new FileSource(uri, path, handle, start, signal);
      } catch (error) {
        await handle.close();
        throw error;
      }
    } catch (error) {
      signal?.throwIfAborted();
      throw fileError(fileErrors.ERR_CPR_FILE_OPEN, uri, path, error);
    }
  }

  async read(buffer: Uint8Array): Promise<number> {
    const count = await this.readAt(this.#position, buffer);
    this.#position += count;
    return count;
  }

  async readAt(position: number, buffer: Uint8Array): Promise<number> {
    let done = 0;
    try {
      while (done < buffer.length) {
        this.#signal?.throwIfAborted();
        const at = this.#start === undefined ? null : this.#start + position + done;
        const { bytesRead } = await this.#handle.read(buffer, done, buffer.length - done, at);
        if (bytesRead === 0) {
          break;
        }
        done += bytesRead;
      }
    } catch (error) {
      this.#signal?.throwIfAborted();
      throw fileError(fileErrors.ERR_CPR_FILE_READ, this.#uri, this.#path, error);
    }
    return done;
  }

  async openChannel({ direct }: ChannelOptions): Promise<TransportChannel> {
    this.#signal?.throwIfAborted();
    return openFileChannel(this.#handle, {
      flags: constants.O_RDONLY,
      direct,
      start: this.#start ?? 0,
      uri: this.#uri,
      path: this.#path,
      failed: fileErrors.ERR_CPR_FILE_READ,
    });
  }

  async close(): Promise<void> {
    if (this.#open) {
      this.#open = false;
      await this.#handle.close();
    }
  }
}
