import { randomFillSync } from "node:crypto";
import { closeSync, openSync, readFileSync, readSync, statSync, unlinkSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { CprError, type TransportChannel } from "../src/index.ts";
import { type CopiedPages, type OutgoingPages, RamCopyThreads } from "../src/ram-copy/ram-copy-threads.ts";
import { BlockChecksums, chunkSize } from "../src/stream/chunk-checksum.ts";
import { fakeRecord } from "./fakes/fake-machine.ts";

const page = 4096;
/** Where the stream begins in its file. */
const start = 8192;
const size = 4 * chunkSize + 3 * page;
/** A second block after the first, and a page that belongs to none. */
const second = { offset: size + page, size: 2 * chunkSize };

const handle = new SharedArrayBuffer(second.offset + second.size);
const ram = new Uint8Array(handle);
let threads: RamCopyThreads;
let path = "";
let descriptor = -1;

beforeAll(async () => {
  threads = await RamCopyThreads.begin({ ram, pageFunctions: undefined, count: 3 });
});

afterAll(() => threads.close());

beforeEach(() => {
  path = join(tmpdir(), `cpr-ram-copy-${process.pid}-${Math.random()}`);
  descriptor = openSync(path, "wx+");
  ram.fill(0);
});

afterEach(() => {
  closeSync(descriptor);
  unlinkSync(path);
});

const channel = (fd = descriptor): TransportChannel => ({
  descriptor: fd,
  start,
  failure: (cause) => new CprError("ERR_CPR_TEST_CHANNEL", "host", `channel: ${cause.code}`, { cause }),
  close: async () => undefined,
});

const options = () => ({
  signal: new AbortController().signal,
  progress: { scanned: 0, normalPages: 0, zeroPages: 0 },
  bandwidth: undefined,
});

const first: OutgoingPages = { id: "ram0", offset: 0, size, pagesPosition: chunkSize, dataRanges: [[0, size]] };
const blocks: readonly OutgoingPages[] = [
  first,
  { id: "ram1", ...second, pagesPosition: 8 * chunkSize, dataRanges: [[0, second.size]] },
];

/** Fills some pages of RAM with random bytes; the last byte is not zero. */
function use(...pages: readonly number[]): void {
  for (const each of pages) {
    randomFillSync(ram, each * page, page);
    ram[(each + 1) * page - 1] = 1;
  }
}

const used = ({ bitmap }: CopiedPages): number[] =>
  [...bitmap].flatMap((byte, index) =>
    [0, 1, 2, 3, 4, 5, 6, 7].flatMap((bit) => (byte & (1 << bit) ? [index * 8 + bit] : [])),
  );

function fileAt(position: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  readSync(descriptor, bytes, 0, length, start + position);
  return bytes;
}

/** What the checksums must be, computed page by page. */
function checksums({ id, offset, size: length }: OutgoingPages, pages: readonly number[]): number[] {
  const result = new BlockChecksums(id);
  for (const each of pages) {
    result.add(each * page, ram.subarray(offset + each * page, offset + (each + 1) * page));
  }
  return [...result.all(length)];
}

describe("writing RAM", () => {
  it("copies the pages that are not zero to their places, and tells which and their checksums", async () => {
    const pages = [0, 1, 2, 5, 255, 256, 300, 1023, 1024, 1026];
    use(...pages);
    // A page whose last byte alone is not zero.
    ram[400 * page + page - 1] = 1;
    const otherFirst = second.offset / page;
    use(otherFirst + 511);
    const { progress, ...rest } = options();
    const [one, other] = await threads.write(blocks, [channel(), channel()], { progress, ...rest });
    const expected = [...pages, 400].sort((a, b) => a - b);
    expect(used(one as CopiedPages)).toEqual(expected);
    expect([...(one as CopiedPages).chunkChecksums]).toEqual(checksums(first, expected));
    expect(used(other as CopiedPages)).toEqual([511]);
    expect([...(other as CopiedPages).chunkChecksums]).toEqual(checksums(blocks[1] as OutgoingPages, [511]));
    expect(one?.bitmap.length).toBe(Math.ceil(size / page / 64) * 8);
    expect(Buffer.compare(fileAt(chunkSize, size), ram.subarray(0, size))).toBe(0);
    expect(Buffer.compare(fileAt(8 * chunkSize, second.size), ram.subarray(second.offset))).toBe(0);
    const pagesOfAll = (size + second.size) / page;
    const normalPages = expected.length + 1;
    expect(progress).toEqual({
      scanned: size + second.size,
      normalPages,
      zeroPages: pagesOfAll - normalPages,
    });
  });

  it("leaves holes for zero pages", async () => {
    use(0, 1026);
    await threads.write([first], [channel()], options());
    const { blocks: sectors, size: length } = statSync(path);
    expect(length).toBe(start + chunkSize + size);
    expect(sectors * 512).toBeLessThan(chunkSize);
  });

  it("does not look at what lies outside of the ranges", async () => {
    use(3, 4, 600, 700);
    const dataRanges = [
      [4 * page + 100, 4 * page + 200],
      [600 * page - 1, 601 * page],
    ] as const;
    const [pages] = await threads.write([{ ...first, dataRanges }], [channel()], options());
    expect(used(pages as CopiedPages)).toEqual([4, 600]);
  });

  it("ends with the transport's error when a channel fails", async () => {
    use(...Array.from({ length: size / page }, (_, index) => index));
    const full = openSync("/dev/full", "w");
    const failing = threads.write([first], [channel(full), channel(full)], options());
    await expect(failing).rejects.toMatchObject({ code: "ERR_CPR_TEST_CHANNEL", message: "channel: ENOSPC" });
    closeSync(full);
    // The threads can be used again.
    const [pages] = await threads.write([first], [channel()], options());
    expect(used(pages as CopiedPages).length).toBe(size / page);
  });

  it("keeps to a bandwidth that all threads share, and ends when the signal is given while it waits", async () => {
    use(...Array.from({ length: size / page }, (_, index) => index));
    const controller = new AbortController();
    const { progress } = options();
    const writing = threads.write([first], [channel()], { progress, signal: controller.signal, bandwidth: 1 });
    setTimeout(() => controller.abort(), 300);
    await expect(writing).rejects.toMatchObject({ name: "AbortError" });
    // A thread finds out behind its first chunk.
    expect(progress.normalPages).toBeLessThanOrEqual((threads.count * chunkSize) / page);
    await expect(
      threads.write([first], [channel()], { progress, signal: controller.signal, bandwidth: undefined }),
    ).rejects.toMatchObject({ name: "AbortError" });
  });
});

describe("reading RAM", () => {
  const pages = [0, 1, 2, 5, 255, 256, 300, 1023, 1026];
  let copy: CopiedPages;
  let saved: Uint8Array;

  beforeEach(async () => {
    use(...pages);
    [copy] = (await threads.write([first], [channel()], options())) as [CopiedPages];
    saved = ram.slice();
  });

  it("puts pages where they were and leaves the others alone", async () => {
    ram.fill(0xee);
    const { progress, signal } = options();
    await threads.read([{ ...first, ...copy }], [channel(), channel()], { signal, progress, target: "load" });
    for (let each = 0; each < size / page; each++) {
      const now = ram.subarray(each * page, (each + 1) * page);
      const wanted = pages.includes(each)
        ? saved.subarray(each * page, (each + 1) * page)
        : new Uint8Array(page).fill(0xee);
      expect(Buffer.compare(now, wanted), `page ${each}`).toBe(0);
    }
    expect(progress).toMatchObject({ scanned: size, normalPages: pages.length });
  });

  it("clears pages that it does not read where they are stale", async () => {
    ram.fill(0xee);
    const staleRanges = [[3 * page + 5, 7 * page]] as const;
    await threads.read([{ ...first, ...copy, staleRanges }], [channel(), channel()], { ...options(), target: "load" });
    for (let each = 0; each < 10; each++) {
      const now = ram.subarray(each * page, (each + 1) * page);
      const wanted = pages.includes(each)
        ? saved.subarray(each * page, (each + 1) * page)
        : new Uint8Array(page).fill(each >= 3 && each < 7 ? 0 : 0xee);
      expect(Buffer.compare(now, wanted), `page ${each}`).toBe(0);
    }
  });

  it("verifies without a change to RAM", async () => {
    ram.fill(0xee);
    await threads.read([{ ...first, ...copy }], [channel()], { ...options(), target: "verify" });
    expect(ram.every((byte) => byte === 0xee)).toBe(true);
  });

  it.each(["verify", "load"] as const)("finds a bit that has changed (%s)", async (target) => {
    const position = start + chunkSize + 300 * page + 17;
    writeSync(descriptor, Uint8Array.of((readFileSync(path)[position] as number) ^ 4), 0, 1, position);
    await expect(threads.read([{ ...first, ...copy }], [channel()], { ...options(), target })).rejects.toMatchObject({
      code: "ERR_CPR_STREAM_DAMAGED",
      message: expect.stringContaining("RAM block 'ram0'"),
    });
  });

  it("finds pages that belong to another block, or elsewhere in theirs", async () => {
    await expect(
      threads.read([{ ...first, ...copy, id: "ram1" }], [channel()], { ...options(), target: "verify" }),
    ).rejects.toMatchObject({ code: "ERR_CPR_STREAM_DAMAGED" });
    const bitmap = copy.bitmap.slice();
    bitmap[0] = 0b0110_0011;
    await expect(
      threads.read([{ ...first, ...copy, bitmap }], [channel()], { ...options(), target: "verify" }),
    ).rejects.toMatchObject({ code: "ERR_CPR_STREAM_DAMAGED" });
  });

  it("finds that the stream is too short", async () => {
    const bitmap = copy.bitmap.slice();
    await expect(
      threads.read([{ ...first, ...copy, bitmap, pagesPosition: 64 * chunkSize }], [channel()], {
        ...options(),
        target: "verify",
      }),
    ).rejects.toMatchObject({ code: "ERR_CPR_STREAM_TRUNCATED" });
  });
});

describe("the threads", () => {
  it("are none when they do not find the RAM", async () => {
    await expect(
      RamCopyThreads.begin({
        ram: { plugins: [fakeRecord], backend: "none", handle },
        pageFunctions: undefined,
        count: 2,
      }),
    ).rejects.toMatchObject({ code: "ERR_CPR_NO_BACKEND" });
  });

  it("are shown the RAM by the backend that made it, if it cannot be handed over", async () => {
    const adopted = { plugins: [fakeRecord], backend: "counting", handle };
    await using one = await RamCopyThreads.begin({ ram: adopted, pageFunctions: undefined, count: 1 });
    use(12);
    const [pages] = await one.write([first], [channel()], options());
    expect(used(pages as CopiedPages)).toEqual([12]);
  });

  it("tell when they have ended", async () => {
    const ended = await RamCopyThreads.begin({ ram, pageFunctions: undefined, count: 1 });
    await ended.close();
    await expect(ended.write([first], [channel()], options())).rejects.toMatchObject({
      code: "ERR_CPR_RAM_COPY_THREAD",
    });
  });

  it("are not more than is of use", async () => {
    await using many = await RamCopyThreads.begin({ ram, pageFunctions: undefined, count: 255 });
    expect(many.count).toBeLessThan(255);
    use(7);
    const [pages] = await many.write([first], [channel()], options());
    expect(used(pages as CopiedPages)).toEqual([7]);
  });
});
