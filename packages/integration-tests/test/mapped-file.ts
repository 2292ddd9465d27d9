import { expect } from "vitest";

export const mappedRamSize = 32 * 1024 * 1024;
export const mappedPage = 4096;

/** The header of a block in the list of blocks (QEMU: docs/devel/migration/mapped-ram.rst). */
interface MappedHeader {
  readonly bitmapOffset: number;
  readonly pagesOffset: number;
}

/**
 * Finds the header of the block `ram0` in a file.
 *
 * @param inPlace - the capability x-ignore-shared is on: the list has addresses, and the block has no pages.
 */
export function mappedHeader(file: Buffer, inPlace = false): MappedHeader {
  const size = file.indexOf("\x04ram0", 0, "latin1") + 5;
  expect(Number(file.readBigUInt64BE(size))).toBe(mappedRamSize);
  const at = size + 8 + (inPlace ? 8 : 0);
  expect(file.readUInt32BE(at)).toBe(1);
  expect(Number(file.readBigUInt64BE(at + 4))).toBe(mappedPage);
  const header = {
    bitmapOffset: Number(file.readBigUInt64BE(at + 12)),
    pagesOffset: Number(file.readBigUInt64BE(at + 20)),
  };
  expect(header.bitmapOffset).toBe(inPlace ? 0 : at + 28);
  expect(header.pagesOffset % (1024 * 1024)).toBe(0);
  return header;
}

/** The RAM that a file has, by the rules of QEMU's documentation and without our reader. */
export function mappedRam(file: Buffer): Buffer {
  const { bitmapOffset, pagesOffset } = mappedHeader(file);
  const ram = Buffer.alloc(mappedRamSize);
  for (let index = 0; index < mappedRamSize / mappedPage; index += 1) {
    if (((file[bitmapOffset + (index >> 3)] as number) & (1 << (index & 7))) !== 0) {
      file.copy(ram, index * mappedPage, pagesOffset + index * mappedPage, pagesOffset + (index + 1) * mappedPage);
    }
  }
  return ram;
}
