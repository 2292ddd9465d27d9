import { streamErrors } from "../errors/stream-errors.ts";
import { bitmapLength } from "../ram-copy/page-bitmap.ts";
import { pageSize } from "./format.ts";
import type { StreamReader } from "./stream-reader.ts";
import type { StreamWriter } from "./stream-writer.ts";

/**
 * Where the pages of a block are in a stream with the capability mapped-ram (QEMU: docs/devel/migration/mapped-ram.rst).
 * Positions are those of the stream.
 */
export interface MappedPages {
  /** Of the bitmap that tells which pages are there: a bit for each, the lowest first, in whole words of 64 bits. */
  readonly bitmapPosition: number;
  /** Of page 0; page n follows n pages later. */
  readonly pagesPosition: number;
}

const headerVersion = 1;

/** Bytes of the header: version, page size, and the positions in the file of bitmap and pages. */
const headerLength = 4 + 3 * 8;

/** No file is so long: hostile input ends here, before positions cease to be exact. */
const greatestPosition = 2 ** 52;

/** Pages begin at a multiple of this in the file, as in QEMU. */
const pagesAlignment = 1024 * 1024;

/**
 * Writes what follows a block in the list of blocks, and skips the bitmap and the pages.
 *
 * @param size - of the block; undefined if the stream has none of its pages.
 * @param start - where in the file the stream begins: the header has positions in the file.
 */
export async function writeMappedPages(
  writer: StreamWriter,
  size: number | undefined,
  start: number,
): Promise<MappedPages | undefined> {
  writer.u32(headerVersion);
  writer.u64(pageSize);
  if (size === undefined) {
    writer.u64(0);
    writer.u64(0);
    return undefined;
  }
  const bitmapPosition = writer.position + 16;
  const bitmapEnd = start + bitmapPosition + bitmapLength(size);
  const pagesPosition = Math.ceil(bitmapEnd / pagesAlignment) * pagesAlignment - start;
  writer.u64(start + bitmapPosition);
  writer.u64(start + pagesPosition);
  await writer.skipTo(pagesPosition + size);
  return { bitmapPosition, pagesPosition };
}

/**
 * Reads what follows a block in the list of blocks, and skips the bitmap and the pages. The bitmap stands behind its
 * header, which tells where in its file the stream began when it was written.
 */
export async function readMappedPages(
  reader: StreamReader,
  id: string,
  size: number,
): Promise<MappedPages | undefined> {
  await reader.need(headerLength);
  const version = reader.u32();
  if (version > headerVersion) {
    throw streamErrors.ERR_CPR_STREAM_NEWER({ what: "mapped-ram", version, supported: headerVersion });
  }
  const pages = reader.u64();
  const bitmapAt = reader.u64();
  const pagesAt = reader.u64();
  if (version !== headerVersion || pages !== pageSize) {
    throw reader.error(`RAM block '${id}' has a mapped-ram header of version ${version} for pages of ${pages} bytes`);
  }
  if (bitmapAt === 0 && pagesAt === 0) {
    return undefined;
  }
  const bitmapPosition = reader.position;
  const start = bitmapAt - bitmapPosition;
  const pagesPosition = pagesAt - start;
  if (start < 0 || pagesAt + size > greatestPosition || pagesPosition < bitmapPosition + bitmapLength(size)) {
    throw reader.error(`the pages of RAM block '${id}' are at an impossible place`);
  }
  if (pagesAt % pageSize !== 0) {
    throw reader.error(`Error reading ramblock ${id} pages, region has bad alignment`);
  }
  reader.skipTo(pagesPosition + size);
  return { bitmapPosition, pagesPosition };
}
