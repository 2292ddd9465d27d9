import { randomFillSync } from "node:crypto";
import { crc32 } from "node:zlib";
import { describe, expect, it } from "vitest";
import { addPage, BlockChecksums, beginChunk, chunkSize } from "../src/stream/chunk-checksum.ts";
import { useCrc32 } from "../src/stream/crc32.ts";

const page = (): Uint8Array => randomFillSync(new Uint8Array(4096));

/** What a chunk's checksum is, written down as it is documented. */
function documented(id: string, offset: number, pages: readonly (readonly [index: number, bytes: Uint8Array])[]) {
  const position = Buffer.alloc(8);
  position.writeBigUInt64BE(BigInt(offset));
  return crc32(Buffer.concat([Buffer.from(`${id}\0`), position, ...pages.flatMap(([n, b]) => [Buffer.of(n), b])]));
}

describe("the checksum of a chunk", () => {
  it("covers the block's name, the chunk's place, and each page behind its index", () => {
    const pages = [0, 1, 7, 128, 255].map((index) => [index, page()] as const);
    for (const [id, offset] of [
      ["pc.ram", 0],
      ["RÄM", 5 * chunkSize],
      ["x", 2 ** 40],
    ] as const) {
      let checksum = beginChunk(id, offset);
      for (const [index, contents] of pages) checksum = addPage(checksum, index, contents);
      expect(checksum).toBe(documented(id, offset, pages));
    }
  });

  it("is gathered page by page, and 0 where there is none", () => {
    const checksums = new BlockChecksums("ram0");
    const [first, second, last] = [page(), page(), page()];
    checksums.add(4096, first);
    checksums.add(chunkSize - 4096, second);
    checksums.add(3 * chunkSize + 4096, last);
    expect([...checksums.all(3 * chunkSize + 8192)]).toEqual([
      documented("ram0", 0, [
        [1, first],
        [255, second],
      ]),
      0,
      0,
      documented("ram0", 3 * chunkSize, [[1, last]]),
    ]);
  });
});

describe("a faster CRC-32", () => {
  it("is used from then on", () => {
    const contents = page();
    const before = beginChunk("ram0", 0);
    const sums: number[] = [];
    useCrc32((bytes, sum) => {
      sums.push(sum);
      return crc32(bytes, sum);
    });
    expect(addPage(before, 0, contents)).toBe(documented("ram0", 0, [[0, contents]]));
    expect(sums.length).toBe(1);
  });
});
