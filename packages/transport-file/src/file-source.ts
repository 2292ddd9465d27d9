import { constants } from "node:fs";
import { open } from "node:fs/promises";
import type { ChannelOptions, DescriptorSource, TransportChannel, TransportSource } from "@cpr/core";
import { descriptorSetOf, lendFrom, lentChannel } from "./descriptor-set.ts";
import { fileError, fileErrors } from "./errors.ts";
import { openFileChannel } from "./file-channel.ts";
import { checkKind } from "./file-sink.ts";
import type { FileLocation } from "./file-uri.ts";
import { DescriptorFile, type OpenFile } from "./open-file.ts";

/** Reads a stream from a file. */
export class FileSource implements TransportSource {
  readonly #uri: string;
  readonly #path: string;
  readonly #handle: OpenFile;
  /** Where the stream begins; undefined if the file has no positions. */
  readonly #start: number | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #openChannel: FileSource["openChannel"];
  #position = 0;
  #open = true;

  private constructor(
    uri: string,
    path: string,
    handle: OpenFile,
    start: number | undefined,
    signal: AbortSignal | undefined,
    openChannel: FileSource["openChannel"],
  ) {
    this.#uri = uri;
    this.#path = path;
    this.#handle = handle;
    this.#start = start;
    this.#signal = signal;
    this.#openChannel = openChannel;
  }

  /** @throws {CprError} ERR_CPR_FILE_OPEN, ERR_CPR_FILE_FDSET and what a {@link DescriptorSource} refuses */
  static async open(
    uri: string,
    { path, offset }: FileLocation,
    signal: AbortSignal | undefined,
    descriptors: DescriptorSource | undefined,
  ): Promise<FileSource> {
    const failed = fileErrors.ERR_CPR_FILE_READ;
    try {
      const set = descriptorSetOf(path, uri);
      const lend = (direct: boolean) => lendFrom(descriptors, set ?? 0, { access: "read", direct, uri });
      const handle: OpenFile = set === undefined ? await open(path, "r") : new DescriptorFile(lend(false));
      try {
        const present = await handle.stat();
        checkKind(present);
        signal?.throwIfAborted();
        const start = present.isFile() || present.isBlockDevice() ? (offset ?? 0) : undefined;
        return new FileSource(uri, path, handle, start, signal, async ({ direct }) =>
          set === undefined
            ? openFileChannel(handle, { flags: constants.O_RDONLY, direct, start: start ?? 0, uri, path, failed })
            : lentChannel(lend(direct), start ?? 0, failed, uri, path),
        );
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

  async openChannel(options: ChannelOptions): Promise<TransportChannel> {
    this.#signal?.throwIfAborted();
    return this.#openChannel(options);
  }

  async close(): Promise<void> {
    if (this.#open) {
      this.#open = false;
      await this.#handle.close();
    }
  }
}
