import { readSync, writeSync } from "node:fs";
import { serializeError } from "../errors.ts";
import { addPage, beginChunk, chunkSize } from "../stream/chunk-checksum.ts";
import { pageSize } from "../stream/format.ts";
import { CopyControl } from "./copy-control.ts";
import type { CopiedBlock, CopyFailure, CopyJob } from "./copy-job.ts";
import { hasPage, removePage } from "./page-bitmap.ts";

/** A failure that is told as data. */
class CopyError extends Error {
  readonly failure: CopyFailure;

  constructor(failure: CopyFailure) {
    super(failure.kind);
    this.failure = failure;
  }
}

const zeroPage = Buffer.alloc(pageSize);

let scratch: Uint8Array | undefined;

/** Memory for pages that are only looked at. It begins at a page boundary, as O_DIRECT wants it; a WebAssembly memory does. */
function scratchChunk(): Uint8Array {
  scratch ??= new Uint8Array(
    new WebAssembly.Memory({ initial: chunkSize / 65_536, maximum: chunkSize / 65_536 }).buffer,
  );
  return scratch;
}

/**
 * Does one thread's part of a copy: takes chunks until there is none left or another thread has failed.
 *
 * @param ram - all RAM of the VM.
 * @returns what went wrong.
 */
export function copyChunks(ram: Uint8Array, job: CopyJob): CopyFailure | undefined {
  const control = new CopyControl(job.control);
  const copyChunk = job.kind === "write" ? writeChunk : readChunk;
  try {
    let first = 0;
    let chunk = control.takeChunk();
    for (const block of job.blocks) {
      const chunks = block.checksums.length;
      while (chunk < first + chunks) {
        if (control.stopped) {
          return undefined;
        }
        copyChunk(ram, job, block, chunk - first, control);
        if (job.bandwidth !== undefined) {
          control.pace(job.begun, job.bandwidth);
        }
        chunk = control.takeChunk();
      }
      first += chunks;
    }
    return undefined;
  } catch (error) {
    control.stop();
    if (error instanceof CopyError) {
      return error.failure;
    }
    const { code, errno, message } = error as NodeJS.ErrnoException;
    if (code !== undefined && errno !== undefined) {
      return { kind: "system", code, errno, message };
    }
    return { kind: "other", error: serializeError(error) };
  }
}

/** Writes the pages of a chunk that are not zero, and leaves their bits in the bitmap. */
function writeChunk(ram: Uint8Array, job: CopyJob, block: CopiedBlock, chunk: number, control: CopyControl): void {
  const { bitmap, checksums } = block;
  const offset = chunk * chunkSize;
  const pages = Math.min(chunkSize, block.size - offset) / pageSize;
  const bytes = window(ram, block.offset + offset, pages * pageSize);
  const position = job.start + block.pagesPosition + offset;
  let checksum = 0;
  let copied = 0;
  let run = 0;
  for (let page = 0; page < pages; page++) {
    const at = page * pageSize;
    const index = offset / pageSize + page;
    if (hasPage(bitmap, index)) {
      if (!isZero(bytes, at)) {
        checksum = addPage(
          copied === 0 ? beginChunk(block.id, offset) : checksum,
          page,
          bytes.subarray(at, at + pageSize),
        );
        copied += 1;
        run += pageSize;
        continue;
      }
      removePage(bitmap, index);
    }
    if (run > 0) {
      writeAll(job.descriptor, bytes.subarray(at - run, at), position + at - run);
      run = 0;
    }
  }
  if (run > 0) {
    writeAll(job.descriptor, bytes.subarray(bytes.length - run), position + bytes.length - run);
  }
  checksums[chunk] = checksum;
  control.count(copied, pages - copied);
}

/** Reads the pages of a chunk that are in the bitmap, and compares their checksum. */
function readChunk(ram: Uint8Array, job: CopyJob, block: CopiedBlock, chunk: number, control: CopyControl): void {
  const { bitmap, checksums } = block;
  const offset = chunk * chunkSize;
  const pages = Math.min(chunkSize, block.size - offset) / pageSize;
  const bytes = job.kind === "load" ? window(ram, block.offset + offset, pages * pageSize) : scratchChunk();
  const position = block.pagesPosition + offset;
  let checksum = 0;
  let copied = 0;
  let page = 0;
  while (page < pages) {
    const from = page;
    while (page < pages && hasPage(bitmap, offset / pageSize + page)) {
      page += 1;
    }
    if (page > from) {
      readAll(job, bytes.subarray(from * pageSize, page * pageSize), position + from * pageSize);
      for (let each = from; each < page; each++) {
        checksum = addPage(
          copied === 0 ? beginChunk(block.id, offset) : checksum,
          each,
          bytes.subarray(each * pageSize, (each + 1) * pageSize),
        );
        copied += 1;
      }
    }
    page += 1;
  }
  if (checksum !== checksums[chunk]) {
    throw new CopyError({ kind: "damaged", block: block.id, offset, position });
  }
  control.count(copied, pages - copied);
}

function window(ram: Uint8Array, offset: number, length: number): Buffer {
  return Buffer.from(ram.buffer, ram.byteOffset + offset, length);
}

/** Whether a page is zero. Few pages that are used begin with so many zeros; the native comparison is for the others. */
function isZero(bytes: Uint8Array, at: number): boolean {
  return (
    bytes[at] === 0 &&
    bytes[at + 1] === 0 &&
    bytes[at + 8] === 0 &&
    bytes[at + 512] === 0 &&
    bytes[at + 2048] === 0 &&
    zeroPage.compare(bytes, at, at + pageSize) === 0
  );
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
