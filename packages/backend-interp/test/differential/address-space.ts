/**
 * The memory that a sequence sees, natively and in the guest alike: a few pages at fixed linear addresses, and nothing else
 * that its pointers come near. What lies in them is one image of {@link imageSize} bytes, whose pages are in an order of
 * their own: neighbours in linear memory are not neighbours in the guest's RAM.
 */

export const pageSize = 0x1000;
/** Two pages, readable, writable and executable. */
export const codeAt = 0x1000_0000;
/** Two pages, readable and writable, behind a gap; then a page that is only readable. */
export const lowAt = 0x1001_0000;
/** Two pages, readable and writable, that 32 bits do not reach. */
export const highAt = 0x2345_6789_a000;
export const highAtLow = 0x6789_a000;
export const highAtHigh = 0x2345;
/** Base of GS in 64-bit mode: the border of the high pages. */
export const gsBase = highAt + pageSize;

/** What a page may be used for. */
export interface ImagePage {
  readonly linear: number;
  readonly writable: boolean;
  readonly executable: boolean;
}

/** In the order of the image; test/native/run-sequences.cpp has the same list. */
export const imagePages: readonly ImagePage[] = [
  { linear: codeAt, writable: true, executable: true },
  { linear: lowAt + pageSize, writable: true, executable: false },
  { linear: highAt, writable: true, executable: false },
  { linear: codeAt + pageSize, writable: true, executable: true },
  { linear: lowAt, writable: true, executable: false },
  { linear: highAt + pageSize, writable: true, executable: false },
  { linear: lowAt + 2 * pageSize, writable: false, executable: false },
];
export const imageSize = imagePages.length * pageSize;
/** Where the two pages of code are in the image. */
export const codeInImage = [0, 3 * pageSize] as const;

/** What surrounds the code of a sequence: not an instruction in 64-bit mode. */
export const filler = 0x06;
/** Most bytes of code in a sequence. */
export const codeSize = 480;
