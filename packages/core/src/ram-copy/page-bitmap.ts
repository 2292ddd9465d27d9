import { pageSize } from "../stream/format.ts";

/** Bytes of a bitmap with a bit for each page of a block: whole words of 64 bits, as QEMU's mapped-ram has them. */
export function bitmapLength(size: number): number {
  return Math.ceil(size / pageSize / 64) * 8;
}

/**
 * A bitmap, shared between threads, of the pages of a block that may hold other bytes than zero.
 *
 * @param ranges - byte ranges outside of which everything is zero.
 */
export function pagesIn(ranges: readonly (readonly [number, number])[], size: number): Uint8Array {
  const bitmap = new Uint8Array(new SharedArrayBuffer(bitmapLength(size)));
  for (const [from, to] of ranges) {
    setPages(bitmap, Math.floor(from / pageSize), Math.ceil(Math.min(to, size) / pageSize));
  }
  return bitmap;
}

export function hasPage(bitmap: Uint8Array, page: number): boolean {
  return ((bitmap[page >>> 3] as number) & (1 << (page & 7))) !== 0;
}

export function removePage(bitmap: Uint8Array, page: number): void {
  bitmap[page >>> 3] = (bitmap[page >>> 3] as number) & ~(1 << (page & 7));
}

function setPages(bitmap: Uint8Array, start: number, end: number): void {
  let page = start;
  for (; page < end && (page & 7) !== 0; page++) {
    setPage(bitmap, page);
  }
  const whole = end - (end & 7);
  if (page < whole) {
    bitmap.fill(0xff, page >>> 3, whole >>> 3);
    page = whole;
  }
  for (; page < end; page++) {
    setPage(bitmap, page);
  }
}

function setPage(bitmap: Uint8Array, page: number): void {
  bitmap[page >>> 3] = (bitmap[page >>> 3] as number) | (1 << (page & 7));
}
