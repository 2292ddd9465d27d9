import {
  closeSync,
  constants,
  fchmodSync,
  linkSync,
  openSync,
  realpathSync,
  renameSync,
  type Stats,
  statSync,
  unlinkSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import type { ChannelOptions, DescriptorSource, LentDescriptor, TransportChannel, TransportSink } from "@cpr/core";
import { descriptorSetOf, lendFrom, lentChannel } from "./descriptor-set.ts";
import { fileError, fileErrors } from "./errors.ts";
import { openFileChannel } from "./file-channel.ts";
import type { FileLocation } from "./file-uri.ts";
import { DescriptorFile, type OpenFile, syncDescriptor } from "./open-file.ts";
import { removeAbandoned, temporaryName } from "./temporary-name.ts";

/** A checkpoint holds all that the guest knows: nobody but the owner may read it (QEMU does the same). */
const mode = 0o600;

const copyChunk = 1024 * 1024;

/** Where the bytes of a sink go, and how it ends. */
interface Target {
  readonly handle: OpenFile;
  /** Where the stream begins; undefined if the file takes no positions. */
  readonly start: number | undefined;
  /** Lends another descriptor of the file; undefined if it can be opened once more. */
  readonly lend?: (direct: boolean) => LentDescriptor;
  /**
   * Makes what was written visible under its name. It is durable already.
   *
   * NOTE: the guest stands still meanwhile. What only takes a name's time is not given to another thread, which takes longer.
   */
  publish(): Promise<void>;
  /** Removes what was written. */
  discard(): Promise<void>;
}

/** Writes a stream to a file, which stays what it was until the stream is complete. */
export class FileSink implements TransportSink {
  readonly #uri: string;
  readonly #path: string;
  readonly #target: Target;
  readonly #signal: AbortSignal | undefined;
  #position = 0;
  #state: "open" | "committed" | "aborted" = "open";

  private constructor(uri: string, path: string, target: Target, signal: AbortSignal | undefined) {
    this.#uri = uri;
    this.#path = path;
    this.#target = target;
    this.#signal = signal;
  }

  /** @throws {CprError} ERR_CPR_FILE_OPEN, ERR_CPR_FILE_FDSET and what a {@link DescriptorSource} refuses */
  static async open(
    uri: string,
    location: FileLocation,
    signal: AbortSignal | undefined,
    descriptors: DescriptorSource | undefined,
  ): Promise<FileSink> {
    const { offset = 0 } = location;
    try {
      const set = descriptorSetOf(location.path, uri);
      const target =
        set === undefined
          ? await openPath(location.path, offset)
          : await openLent((direct) => lendFrom(descriptors, set, { access: "write", direct, uri }), offset);
      const sink = new FileSink(uri, location.path, target, signal);
      if (signal?.aborted === true) {
        await sink.abort();
        signal.throwIfAborted();
      }
      return sink;
    } catch (error) {
      signal?.throwIfAborted();
      throw fileError(fileErrors.ERR_CPR_FILE_OPEN, uri, location.path, error);
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    const position = this.#position;
    this.#position += bytes.length;
    await this.writeAt(position, bytes);
  }

  async writeAt(position: number, bytes: Uint8Array): Promise<void> {
    this.#signal?.throwIfAborted();
    if (this.#state !== "open") {
      throw new TypeError(`the sink is ${this.#state}`);
    }
    const { handle, start } = this.#target;
    try {
      for (let done = 0; done < bytes.length; ) {
        const at = start === undefined ? null : start + position + done;
        done += (await handle.write(bytes, done, bytes.length - done, at)).bytesWritten;
      }
    } catch (error) {
      throw this.#failure(error);
    }
    this.#signal?.throwIfAborted();
  }

  async openChannel({ direct }: ChannelOptions): Promise<TransportChannel> {
    this.#signal?.throwIfAborted();
    const { handle, start = 0, lend } = this.#target;
    const names = { uri: this.#uri, path: this.#path };
    const failed = fileErrors.ERR_CPR_FILE_WRITE;
    return lend === undefined
      ? openFileChannel(handle, { flags: constants.O_WRONLY, direct, start, ...names, failed })
      : lentChannel(lend(direct), start, failed, names.uri, names.path);
  }

  async commit(): Promise<void> {
    this.#signal?.throwIfAborted();
    if (this.#state !== "open") {
      throw new TypeError(`the sink is ${this.#state}`);
    }
    const { handle, publish } = this.#target;
    try {
      await handle.sync().catch(ignoreUnsyncable);
      this.#signal?.throwIfAborted();
      await publish();
      this.#state = "committed";
      await handle.close();
    } catch (error) {
      this.#signal?.throwIfAborted();
      throw this.#failure(error);
    }
  }

  async abort(): Promise<void> {
    if (this.#state === "open") {
      this.#state = "aborted";
      await this.#target.discard();
      await this.#target.handle.close();
    }
  }

  #failure(cause: unknown): Error {
    return fileError(fileErrors.ERR_CPR_FILE_WRITE, this.#uri, this.#path, cause);
  }
}

async function openPath(location: string, offset: number): Promise<Target> {
  // The target of a symbolic link is replaced, not the link.
  const path = targetOf(location);
  const present = statSync(path, { throwIfNoEntry: false });
  if (present !== undefined) {
    checkKind(present);
  }
  return present === undefined || present.isFile()
    ? openBeside(path, offset, present)
    : openDirectly(path, present, offset);
}

function targetOf(location: string): string {
  try {
    return realpathSync.native(location);
  } catch {
    return location;
  }
}

/**
 * Opens a temporary file beside the target, which it will replace. Bytes below the offset are somebody else's: they are
 * copied.
 */
async function openBeside(path: string, offset: number, present: Stats | undefined): Promise<Target> {
  removeAbandoned(path);
  const temporary = temporaryName(path);
  const handle = DescriptorFile.open(temporary, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, mode);
  const discard = async (): Promise<void> => removeName(temporary);
  try {
    if (present !== undefined) {
      await copyStart(path, handle, Math.min(offset, present.size));
    }
    if (offset > 0) {
      await handle.truncate(offset);
    }
  } catch (error) {
    await discard();
    await handle.close();
    throw error;
  }
  return {
    handle,
    start: offset,
    publish: async () => {
      if (present !== undefined) {
        // Only now: it may forbid the opening of channels.
        fchmodSync(handle.fd, present.mode & 0o7777);
      }
      await replace(temporary, path);
    },
    discard,
  };
}

/**
 * Gives a file the name of another one, durably. If the folder cannot be made durable, the name is the old file's again,
 * which keeps another name meanwhile; where the file system has no links, it cannot be brought back.
 */
async function replace(temporary: string, path: string): Promise<void> {
  const former = temporaryName(path);
  const old = keep(path, former);
  try {
    renameSync(temporary, path);
    await makeDurable(dirname(path)).catch((error: unknown) => {
      if (old === "kept") {
        renameSync(former, path);
      } else if (old === "absent") {
        unlinkSync(path);
      }
      throw error;
    });
  } finally {
    if (old === "kept") {
      removeName(former);
    }
  }
}

/** Gives a file, if there is one, another name besides. */
function keep(path: string, name: string): "kept" | "absent" | "lost" {
  try {
    linkSync(path, name);
    return "kept";
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT" ? "absent" : "lost";
  }
}

/** Removes a name if it is there. */
function removeName(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") {
      throw error;
    }
  }
}

/** A new name is durable only when its folder is. */
async function makeDurable(folder: string): Promise<void> {
  const directory = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  await syncDescriptor(directory)
    .catch(ignoreUnsyncable)
    .finally(() => closeSync(directory));
}

async function copyStart(path: string, target: OpenFile, length: number): Promise<void> {
  if (length === 0) {
    return;
  }
  const source = await open(path, constants.O_RDONLY);
  try {
    const buffer = new Uint8Array(Math.min(length, copyChunk));
    for (let done = 0; done < length; ) {
      const { bytesRead } = await source.read(buffer, 0, Math.min(buffer.length, length - done), done);
      if (bytesRead === 0) {
        return;
      }
      for (let written = 0; written < bytesRead; ) {
        written += (await target.write(buffer, written, bytesRead - written, done + written)).bytesWritten;
      }
      done += bytesRead;
    }
  } finally {
    await source.close();
  }
}

/** Opens what cannot be replaced: a device. */
async function openDirectly(path: string, present: Stats, offset: number): Promise<Target> {
  return {
    // On another thread: a device may let whoever opens it wait.
    handle: await open(path, constants.O_WRONLY),
    start: present.isBlockDevice() ? offset : undefined,
    publish: async () => undefined,
    discard: async () => undefined,
  };
}

/**
 * Takes a file that came as a descriptor. It has no name that another file could be given, so it is written itself: what
 * it held beyond the offset is gone from here on, and nothing stands there if the stream is given up.
 */
async function openLent(lend: (direct: boolean) => LentDescriptor, offset: number): Promise<Target> {
  const handle = new DescriptorFile(lend(false));
  try {
    const present = await handle.stat();
    checkKind(present);
    const empty = async () => {
      if (present.isFile()) {
        await handle.truncate(offset);
      }
    };
    await empty();
    return {
      handle,
      start: present.isFile() || present.isBlockDevice() ? offset : undefined,
      lend,
      publish: async () => undefined,
      discard: empty,
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** @throws an error like the system's if a file of this kind cannot be written as a checkpoint. */
export function checkKind(present: Stats): void {
  if (present.isDirectory()) {
    throw Object.assign(new Error(), { code: "EISDIR" });
  }
  if (present.isFIFO() || present.isSocket()) {
    // Opening one waits for its other end, and nothing ends the wait.
    throw new Error("it is a pipe or socket; use exec:, unix: or tcp: instead");
  }
}

/** Some devices and file systems have nothing to make durable. */
function ignoreUnsyncable(error: NodeJS.ErrnoException): void {
  if (error.code !== "EINVAL" && error.code !== "ENOTSUP" && error.code !== "EROFS") {
    throw error;
  }
}
