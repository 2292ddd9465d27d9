import { availableParallelism } from "node:os";
import { streamErrors } from "../errors/stream-errors.ts";
import { deserializeError } from "../errors.ts";
import { chunkSize, damagedChunk } from "../stream/chunk-checksum.ts";
import { pageSize } from "../stream/format.ts";
import type { RamProgress } from "../stream/ram-section.ts";
import type { TransportChannel } from "../transport.ts";
import { CopyControl, now } from "./copy-control.ts";
import type { CopiedBlock, CopyFailure, CopyKind, CopyThreadData } from "./copy-job.ts";
import { CopyThread } from "./copy-thread.ts";
import { bitmapLength, pagesIn } from "./page-bitmap.ts";

/** A RAM block and its place in the stream. */
interface PlacedBlock {
  readonly id: string;
  /** Where it begins in the RAM of the VM, in bytes. */
  readonly offset: number;
  /** In bytes, a multiple of the page size. */
  readonly size: number;
  /** Where in the stream its first page is; page n follows n pages later. */
  readonly pagesPosition: number;
}

/** Which pages of a block are in the stream, and what they are. */
export interface CopiedPages {
  /** A bit for each page that is, the lowest first; whole words of 64 bits. */
  readonly bitmap: Uint8Array;
  /** By chunk; see `chunk-checksum.ts`. */
  readonly chunkChecksums: Uint32Array;
}

/** A RAM block whose pages are to be written. */
export interface OutgoingPages extends PlacedBlock {
  /** Byte ranges outside of which everything is zero. */
  readonly dataRanges: readonly (readonly [number, number])[];
}

/** A RAM block whose pages are to be read. */
export interface IncomingPages extends PlacedBlock, CopiedPages {
  /** Byte ranges of RAM that may hold something else than zeros. Pages there that the bitmap does not have are cleared. */
  readonly staleRanges?: readonly (readonly [number, number])[];
}

/** How a copy goes on. */
export interface CopyOptions {
  /** Ends the copy. */
  readonly signal: AbortSignal;
  /** Counts on while the copy goes on. */
  readonly progress: RamProgress;
}

/** How pages are written. */
export interface WriteOptions extends CopyOptions {
  /** Bytes per second of all threads together; undefined for no limit. */
  readonly bandwidth: number | undefined;
}

/** How pages are read. */
export interface ReadOptions extends CopyOptions {
  /**
   * `verify` leaves RAM as it is. `load` reads pages into RAM at once: if they are damaged, it has them all the same.
   */
  readonly target: "verify" | "load";
}

/** What threads need to find the RAM of a VM, and how many there are to be. */
export type RamCopyThreadsOptions = Omit<CopyThreadData, "compileCache"> & { readonly count: number };

/** More threads than this, or than the host has processors if these are more, are of no use. */
const sensibleCount = 16;

/** How often the progress is brought up to date, in milliseconds. */
const progressInterval = 50;

/**
 * Threads that copy pages between the RAM of a VM and descriptors, each at a position of its own. They take chunks by
 * turns, so that none waits for another one.
 *
 * Beginning them takes time, which is spent while the guest runs; until they are used they wait. The guest stands still
 * while they work.
 *
 * @example
 * ```ts
 * await using threads = await RamCopyThreads.begin({ ram, pageFunctions, count: 2 });
 * const [pages] = await threads.write([{ id, offset, size, pagesPosition, dataRanges }], channels, options);
 * ```
 */
export class RamCopyThreads implements AsyncDisposable {
  readonly #threads: readonly CopyThread[];

  private constructor(threads: readonly CopyThread[]) {
    this.#threads = threads;
  }

  /**
   * Begins threads, and is fulfilled when all of them see the RAM.
   *
   * @throws {CprError} if one of them fails; none is left then.
   */
  static async begin({ count, ...data }: RamCopyThreadsOptions): Promise<RamCopyThreads> {
    const sensible = Math.min(count, Math.max(sensibleCount, availableParallelism()));
    const threads = new RamCopyThreads(Array.from({ length: sensible }, () => new CopyThread(data)));
    try {
      const answers = await Promise.all(threads.#threads.map((thread) => thread.ready()));
      for (const failure of answers) {
        if (failure !== undefined) {
          throw errorOf(failure, undefined);
        }
      }
      return threads;
    } catch (error) {
      await threads.close();
      throw error;
    }
  }

  /** How many threads there are, and so how many channels they use. */
  get count(): number {
    return this.#threads.length;
  }

  /**
   * Writes the pages of blocks that are not zero, and leaves holes for the others. What lies outside of the ranges is
   * not looked at.
   *
   * @param channels - at least one; a thread uses one of them.
   * @returns for each block, what the stream has of it.
   * @throws {CprError} the transport's error if a write fails, an `AbortError` if the signal is given. No thread touches
   * a channel then any more.
   */
  async write(
    blocks: readonly OutgoingPages[],
    channels: readonly TransportChannel[],
    options: WriteOptions,
  ): Promise<readonly CopiedPages[]> {
    const copied = blocks.map(({ id, offset, size, pagesPosition, dataRanges }): CopiedBlock => {
      const checksums = new Uint32Array(new SharedArrayBuffer(4 * Math.ceil(size / chunkSize)));
      return { id, offset, size, pagesPosition, bitmap: pagesIn(dataRanges, size), checksums };
    });
    await this.#perform("write", copied, channels, options);
    return copied.map(({ bitmap, checksums }) => ({ bitmap: bitmap.slice(), chunkChecksums: checksums.slice() }));
  }

  /**
   * Reads the pages that the bitmaps of blocks have, and compares the checksums of all chunks. Pages that a bitmap does
   * not have stay as they are, or are cleared where they are said to be stale.
   *
   * @param channels - at least one; a thread uses one of them.
   * @throws {CprError} ERR_CPR_STREAM_DAMAGED, ERR_CPR_STREAM_TRUNCATED, the transport's error if a read fails, an
   * `AbortError` if the signal is given. No thread touches a channel or RAM then any more.
   */
  async read(
    blocks: readonly IncomingPages[],
    channels: readonly TransportChannel[],
    options: ReadOptions,
  ): Promise<void> {
    const copied = blocks.map((block): CopiedBlock => {
      const { id, offset, size, pagesPosition, bitmap, chunkChecksums, staleRanges = [] } = block;
      const sharedBitmap = new Uint8Array(new SharedArrayBuffer(bitmapLength(size)));
      sharedBitmap.set(bitmap.subarray(0, sharedBitmap.length));
      const checksums = new Uint32Array(new SharedArrayBuffer(4 * Math.ceil(size / chunkSize)));
      checksums.set(chunkChecksums.subarray(0, checksums.length));
      const stale = staleRanges.length === 0 ? {} : { stale: pagesIn(staleRanges, size) };
      return { id, offset, size, pagesPosition, bitmap: sharedBitmap, checksums, ...stale };
    });
    await this.#perform(options.target, copied, channels, { ...options, bandwidth: undefined });
  }

  /** Ends the threads. */
  async close(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #perform(
    kind: CopyKind,
    blocks: readonly CopiedBlock[],
    channels: readonly TransportChannel[],
    { signal, progress, bandwidth }: WriteOptions,
  ): Promise<void> {
    signal.throwIfAborted();
    const control = new CopyControl();
    const before = { ...progress };
    const count = () => {
      progress.normalPages = before.normalPages + control.normalPages;
      progress.zeroPages = before.zeroPages + control.zeroPages;
      progress.scanned = before.scanned + (control.normalPages + control.zeroPages) * pageSize;
    };
    const stop = () => control.stop();
    const counting = setInterval(count, progressInterval);
    signal.addEventListener("abort", stop);
    try {
      const begun = now();
      const failures: { readonly chunk: number; readonly error: unknown }[] = [];
      await Promise.all(
        this.#threads.map(async (thread, index) => {
          const channel = channels[index % channels.length] as TransportChannel;
          const { descriptor, start } = channel;
          try {
            const job = { kind, blocks, control: control.memory, descriptor, start, bandwidth, begun };
            const failure = await thread.perform(job);
            if (failure !== undefined) {
              failures.push({ chunk: failure.chunk, error: errorOf(failure, channel) });
            }
          } catch (error) {
            control.stop();
            failures.push({ chunk: -1, error });
          }
        }),
      );
      signal.throwIfAborted();
      const [first] = failures.sort((a, b) => a.chunk - b.chunk);
      if (first !== undefined) {
        throw first.error;
      }
    } finally {
      clearInterval(counting);
      signal.removeEventListener("abort", stop);
      count();
    }
  }
}

/** The error that a thread's failure is. */
function errorOf(failure: CopyFailure, channel: TransportChannel | undefined): Error {
  switch (failure.kind) {
    case "system": {
      const { code, errno, message } = failure;
      const cause = Object.assign(new Error(message), { code, errno });
      return channel?.failure(cause) ?? cause;
    }
    case "truncated":
      return streamErrors.ERR_CPR_STREAM_TRUNCATED({ position: failure.position });
    case "damaged":
      return damagedChunk(failure.block, failure.offset);
    case "other":
      return deserializeError(failure.error);
  }
}
