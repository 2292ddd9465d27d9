import { codeInImage, filler, imagePages, imageSize, pageSize } from "./address-space.ts";
import type { FastRandom } from "./fast-random.ts";
import { randomCell } from "./operand-pool.ts";

/** What is in the pages before a sequence is put into them. */
export function randomImage(random: FastRandom): Uint8Array {
  const words = new Uint32Array(imageSize / 4);
  for (let at = 0; at < words.length; at += 4) randomCell(random, words, at);
  const image = new Uint8Array(words.buffer);
  imagePages.forEach((page, index) => {
    if (page.executable) image.fill(filler, index * pageSize, (index + 1) * pageSize);
  });
  return image;
}

/** Writes bytes to the pages of code of an image, at an offset in their linear order. */
export function placeCode(image: Uint8Array, offset: number, bytes: Uint8Array): void {
  const first = offset < pageSize ? Math.min(bytes.length, pageSize - offset) : 0;
  image.set(bytes.subarray(0, first), codeInImage[0] + offset);
  if (first < bytes.length) image.set(bytes.subarray(first), codeInImage[1] + offset + first - pageSize);
}

/** Up to 15 bytes of the pages of code of an image, from an offset in their linear order on. */
export function codeFrom(image: Uint8Array, offset: number): Uint8Array {
  const bytes: number[] = [];
  for (let at = offset; at >= 0 && at < 2 * pageSize && bytes.length < 15; at++) {
    bytes.push(image[at < pageSize ? codeInImage[0] + at : codeInImage[1] + at - pageSize] as number);
  }
  return Uint8Array.from(bytes);
}

const filling = new Uint8Array(1024).fill(filler);

/** The inverse of {@link placeCode}. */
export function removeCode(image: Uint8Array, offset: number, length: number): void {
  placeCode(image, offset, filling.subarray(0, length));
}
