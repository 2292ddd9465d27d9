import { readSync, writeSync } from "node:fs";
import { serializeError } from "../errors.ts";
import type { PageFunctions } from "../memory-provider.ts";
import { beginChunk, chunkSize } from "../stream/chunk-checksum.ts";
import { pageSize } from "../stream/format.ts";
import { CopyControl } from "./copy-control.ts";
import type { CopiedBlock, CopyFailure, CopyJob, CopyProblem } from "./copy-job.ts";
import { hasPage } from "./page-bitmap.ts";

/** A failure that is told as data. */
class CopyError extends Error {
  readonly problem: CopyProblem;

  constructor(problem: CopyProblem) {
    super(problem.kind);
    this.problem = problem;
  }
}

/** What a thread works with. */
interface Context {
  readonly ram: Uint8Array;
  readonly functions: Pick<PageFunctions, "checksumPages">;
  readonly job: CopyJob;
  readonly control: CopyControl;
}

let scratch: Uint8Array | undefined;

/** Memory for pages that are only looked at. It begins at a page boundary, as O_DIRECT wants it; a WebAssembly memory does. */
function scratchChunk(): Uint8Array {
  scratch ??= new Uint8Array(
    new WebAssembly.Memory({ initial: chunkSize / 65_536, maximum: chunkSize / 65_536 }).buffer,
  );
  return scratch;
}

/**
 * Does one thread's part of a copy: takes chunks until there is none left or another thread has failed. A chunk that was
 * taken is done, so that of several that are damaged the first is always found.
 *
 * @param ram - all RAM of the VM.
 * @returns what went wrong.
 */
export function copyChunks(
  ram: Uint8Array,
  functions: Pick<PageFunctions, "checksumPages">,
  job: CopyJob,
): CopyFailure | undefined {
  const control = new CopyControl(job.control);
  const context: Context = { ram, functions, job, control };
  const copyChunk = job.kind === "write" ? writeChunk : readChunk;
  let chunk = 0;
  try {
    let first = 0;
    chunk = control.takeChunk();
    for (const block of job.blocks) {
      const chunks = block.checksums.length;
      while (chunk < first + chunks) {
        copyChunk(context, block, chunk - first);
        if (job.bandwidth !== undefined) {
          control.pace(job.begun, job.bandwidth);
        }
        if (control.stopped) {
          return undefined;
        }
        chunk = control.takeChunk();
      }
      first += chunks;
    }
    return undefined;
  } catch (error) {
    control.stop();
    return { ...problemOf(error), chunk };
  }
}

function problemOf(error: unknown): CopyProblem {
  if (error instanceof CopyError) {
    return error.problem;
  }
  const { code, errno, message } = error as NodeJS.ErrnoException;
  return code !== undefined && errno !== undefined
    ? { kind: "system", code, errno, message }
    : { kind: "other", error: serializeError(error) };
}

/** A chunk of a block. */
class Chunk {
  /** Where it begins in its block. */
  readonly offset: number;
  /** Where it begins in the stream. */
  readonly position: number;
  readonly pages: number;
  /** Its part of the block's bitmap: no other thread touches it. */
  readonly bitmap: Uint8Array;

  constructor({ size, pagesPosition, bitmap }: CopiedBlock, index: number) {
    this.offset = index * chunkSize;
    this.position = pagesPosition + this.offset;
    const length = Math.min(chunkSize, size - this.offset);
    this.pages = length / pageSize;
    const first = this.offset / pageSize / 8;
    this.bitmap = bitmap.subarray(first, first + Math.ceil(this.pages / 8));
  }

  get length(): number {
    return this.pages * pageSize;
  }

  /** Whether its bitmap has no page: most chunks of an idle guest. */
  get empty(): boolean {
    return this.bitmap.every((byte) => byte === 0);
  }

  /** The runs of pages that its bitmap has, as [start, end) byte offsets in the chunk. */
  runs(): [number, number][] {
    const runs: [number, number][] = [];
    const add = (page: number, pages: number): void => {
      const start = page * pageSize;
      const end = start + pages * pageSize;
      const last = runs.at(-1);
      if (last !== undefined && last[1] === start) {
        last[1] = end;
      } else {
        runs.push([start, end]);
      }
    };
    for (let page = 0; page < this.pages; page += 8) {
      const byte = this.bitmap[page / 8] as number;
      if (byte === 0xff && page + 8 <= this.pages) {
        add(page, 8);
      } else if (byte !== 0) {
        for (let each = page; each < Math.min(page + 8, this.pages); each++) {
          if (hasPage(this.bitmap, each)) {
            add(each, 1);
          }
        }
      }
    }
    return runs;
  }
}

/** Writes the pages of a chunk that are not zero, and leaves their bits in the bitmap. */
function writeChunk(context: Context, block: CopiedBlock, index: number): void {
  const { ram, functions, job, control } = context;
  const chunk = new Chunk(block, index);
  if (chunk.empty) {
    control.count(0, chunk.pages);
    return;
  }
  const bytes = Buffer.from(ram.buffer, ram.byteOffset + block.offset + chunk.offset, chunk.length);
  const checksum = functions.checksumPages(bytes, chunk.bitmap, beginChunk(block.id, chunk.offset), true);
  const runs = chunk.runs();
  for (const [start, end] of runs) {
    writeAll(job.descriptor, bytes.subarray(start, end), job.start + chunk.position + start);
  }
  block.checksums[index] = runs.length === 0 ? 0 : checksum;
  count(control, chunk, runs);
}

/** Reads the pages of a chunk that are in the bitmap, and compares their checksum. */
function readChunk(context: Context, block: CopiedBlock, index: number): void {
  const { ram, functions, job, control } = context;
  const chunk = new Chunk(block, index);
  const bytes =
    job.kind === "load"
      ? Buffer.from(ram.buffer, ram.byteOffset + block.offset + chunk.offset, chunk.length)
      : scratchChunk().subarray(0, chunk.length);
  const runs = chunk.runs();
  for (const [start, end] of runs) {
    readAll(job, bytes.subarray(start, end), chunk.position + start);
  }
  if (block.stale !== undefined) {
    clearOthers(bytes, chunk, block.stale);
  }
  const checksum =
    runs.length === 0 ? 0 : functions.checksumPages(bytes, chunk.bitmap, beginChunk(block.id, chunk.offset), false);
  if (checksum !== block.checksums[index]) {
    throw new CopyError({ kind: "damaged", block: block.id, offset: chunk.offset });
  }
  count(control, chunk, runs);
}

/** Clears the pages of a chunk that are stale and that its bitmap does not have. */
function clearOthers(bytes: Uint8Array, chunk: Chunk, stale: Uint8Array): void {
  const first = chunk.offset / pageSize;
  for (let page = 0; page < chunk.pages; page++) {
    if (hasPage(stale, first + page) && !hasPage(chunk.bitmap, page)) {
      bytes.fill(0, page * pageSize, (page + 1) * pageSize);
    }
  }
}

function count(control: CopyControl, { pages }: Chunk, runs: readonly (readonly [number, number])[]): void {
  const copied = runs.reduce((sum, [start, end]) => sum + end - start, 0) / pageSize;
  control.count(copied, pages - copied);
}

function writeAll(descriptor: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(descriptor, bytes, done, bytes.length - done, position + done);
  }
}

/** @param position - in the stream. */
function readAll({ descriptor, start }: CopyJob, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    const count = readSync(descriptor, bytes, done, bytes.length - done, start + position + done);
    if (count === 0) {
      throw new CopyError({ kind: "truncated", position: position + done });
    }
    done += count;
  }
}
