import { spawn } from "node:child_process";
import { randomFillSync } from "node:crypto";
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { crc32 } from "node:zlib";
import type { PageFunctions } from "@cpr/core";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { loadAddon } from "../src/addon.ts";
import {
  addressOf,
  cacheFlushInstruction,
  canMapSynchronously,
  createMemfd,
  dataRangesOf,
  findLockHolder,
  flushCache,
  mapOver,
  nativeErrors,
  pageFunctionsUrl,
  pageSize,
  populate,
  punchHole,
  reserve,
  reserveMemory,
  touchedRangesOf,
  tryLock,
} from "../src/index.ts";
import { unionOf } from "../src/mapped-memory.ts";
import { readRanges } from "../src/touched-ranges.ts";

const wasmPage = 65_536;
const page = pageSize();
let folder: string;
let descriptors: number[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "native-mman-"));
  descriptors = [];
});

afterEach(() => {
  descriptors.forEach(closeSync);
  rmSync(folder, { recursive: true });
});

const owned = (descriptor: number) => {
  descriptors.push(descriptor);
  return descriptor;
};

function file(size: number, name = "ram"): number {
  const descriptor = owned(openSync(join(folder, name), constants.O_RDWR | constants.O_CREAT, 0o600));
  ftruncateSync(descriptor, size);
  return descriptor;
}

function createMemfdOf(size: number): number {
  const descriptor = createMemfd("test");
  ftruncateSync(descriptor, size);
  return descriptor;
}

function memory(pages: number, shared = true): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared });
}

describe.each([true, false])("over a WebAssembly.Memory with shared: %s", (shared) => {
  test("the view's bytes are the file's, and nothing beside it changes", () => {
    const descriptor = owned(createMemfd("test"));
    ftruncateSync(descriptor, 2 * wasmPage);
    const all = new Uint8Array(memory(4, shared).buffer);
    all.fill(0xee);
    const target = all.subarray(wasmPage, 3 * wasmPage);
    mapOver(target, { descriptor, visibility: "shared" });
    expect(target.every((byte) => byte === 0)).toBe(true);
    expect(all.subarray(0, wasmPage).every((byte) => byte === 0xee)).toBe(true);
    expect(all.subarray(3 * wasmPage).every((byte) => byte === 0xee)).toBe(true);

    target[5] = 42;
    const byte = new Uint8Array(1);
    readSync(descriptor, byte, 0, 1, 5);
    expect(byte[0]).toBe(42);
    writeSync(descriptor, Uint8Array.of(43), 0, 1, 70_000);
    expect(target[70_000]).toBe(43);
  });

  test("a private mapping shows the file and keeps its stores to itself", () => {
    const descriptor = owned(createMemfd("test"));
    ftruncateSync(descriptor, wasmPage);
    writeSync(descriptor, "template", 0);
    const target = new Uint8Array(memory(1, shared).buffer);
    mapOver(target, { descriptor, visibility: "private" });
    expect(Buffer.from(target.slice(0, 8)).toString()).toBe("template");
    target[0] = 0;
    const bytes = new Uint8Array(8);
    readSync(descriptor, bytes, 0, 8, 0);
    expect(Buffer.from(bytes).toString()).toBe("template");
  });
});

test("a part of the file is mapped from its offset on", () => {
  const descriptor = file(4 * wasmPage);
  writeSync(descriptor, "here", 2 * wasmPage);
  const target = new Uint8Array(memory(1).buffer);
  mapOver(target, { descriptor, visibility: "shared", offset: 2 * wasmPage });
  expect(Buffer.from(target.slice(0, 4)).toString()).toBe("here");
});

test("another thread that has the memory sees the file", async () => {
  const descriptor = owned(createMemfd("test"));
  ftruncateSync(descriptor, wasmPage);
  const shared = memory(1);
  mapOver(new Uint8Array(shared.buffer), { descriptor, visibility: "shared" });
  const worker = new Worker(
    "const {workerData} = require('worker_threads'); new Uint8Array(workerData.buffer)[1000] = 99;",
    { eval: true, workerData: shared },
  );
  await new Promise((resolve) => worker.on("exit", resolve));
  const byte = new Uint8Array(1);
  readSync(descriptor, byte, 0, 1, 1000);
  expect(byte[0]).toBe(99);
});

test("a view that is not whole pages is refused and nothing is mapped", () => {
  const descriptor = owned(createMemfd("test"));
  ftruncateSync(descriptor, wasmPage);
  const all = new Uint8Array(memory(2).buffer).fill(1);
  for (const view of [all.subarray(1, page + 1), all.subarray(0, page - 1), all.subarray(0, 0)]) {
    expect(() => mapOver(view, { descriptor, visibility: "shared" })).toThrow(RangeError);
  }
  expect(() => mapOver(new Uint16Array(all.buffer) as never, { descriptor, visibility: "shared" })).toThrow(TypeError);
  expect(all.every((byte) => byte === 1)).toBe(true);
});

test("a system call that fails is an error with its code and name", () => {
  const target = new Uint8Array(memory(1).buffer);
  expect(() => mapOver(target, { descriptor: -1, visibility: "shared" })).toThrow(
    expect.objectContaining({ code: "EBADF", syscall: "mmap", errno: -9 }),
  );
  const descriptor = owned(openSync("/dev/null", "r"));
  expect(() => mapOver(target, { descriptor, visibility: "shared" })).toThrow(
    expect.objectContaining({ code: expect.stringMatching(/^E(ACCES|NODEV)$/), syscall: "mmap" }),
  );
});

test("MAP_SYNC is asked for, which a file without DAX refuses", () => {
  const descriptor = file(wasmPage);
  const target = new Uint8Array(memory(1).buffer);
  expect(() => mapOver(target, { descriptor, visibility: "shared", synchronous: true })).toThrow(
    expect.objectContaining({ code: "ENOTSUP", syscall: "mmap" }),
  );
});

test("the address is the same at each look, and views count from it", () => {
  const all = new Uint8Array(memory(1).buffer);
  expect(addressOf(all) % BigInt(page)).toBe(0n);
  expect(addressOf(all.subarray(page))).toBe(addressOf(all) + BigInt(page));
});

test("populated pages are present, unchanged, and the only ones", () => {
  const descriptor = owned(createMemfd("test"));
  ftruncateSync(descriptor, 4 * wasmPage);
  writeSync(descriptor, "kept", 2 * wasmPage);
  const target = new Uint8Array(memory(4).buffer);
  mapOver(target, { descriptor, visibility: "private" });
  expect(touchedRangesOf(target)).toEqual([]);
  populate(target.subarray(2 * wasmPage, 3 * wasmPage));
  expect(touchedRangesOf(target)).toEqual([[2 * wasmPage, 3 * wasmPage]]);
  expect(Buffer.from(target.slice(2 * wasmPage, 2 * wasmPage + 4)).toString()).toBe("kept");
});

test("more ranges than the kernel tells at once are found, the same by each way", () => {
  const target = reserveMemory(64 << 20);
  const used = Array.from({ length: 1500 }, (_, index) => index * 5 + (index % 3));
  for (const each of used) {
    target[each * page + 5] = 1;
  }
  const expected = unionOf(
    used.map((each): [number, number] => [each * page, (each + 1) * page]),
    [],
  );
  expect(touchedRangesOf(target)).toEqual(expected);
  const descriptor = owned(openSync("/proc/self/pagemap", "r"));
  expect(readRanges(descriptor, target)).toEqual(expected);
});

test("cache flushing changes nothing, and takes parts that are inside the view", async () => {
  const target = reserveMemory(40 << 20);
  target[0] = 7;
  target[39 << 20] = 8;
  await flushCache(target);
  await flushCache(target.subarray(100, 101));
  await flushCache(target, [
    [0, 1],
    [39 << 20, 40 << 20],
  ]);
  await flushCache(target, []);
  expect([target[0], target[39 << 20]]).toEqual([7, 8]);
  await expect(flushCache(target, [[0, (40 << 20) + 1]])).rejects.toThrow(RangeError);
  await expect(flushCache(target, [[-1, 1]])).rejects.toThrow(RangeError);
});

test("caches are flushed with the best instruction that the processor has", () => {
  const has =
    readFileSync("/proc/cpuinfo", "latin1")
      .match(/^flags.*$/m)?.[0]
      .split(" ") ?? [];
  const best = (["clwb", "clflushopt"] as const).find((each) => has.includes(each)) ?? "clflush";
  expect(cacheFlushInstruction()).toBe(best);
});

test("a file on a file system without DAX cannot be mapped synchronously", () => {
  expect(canMapSynchronously(file(wasmPage))).toBe(false);
  expect(() => canMapSynchronously(-1)).toThrow(expect.objectContaining({ code: "EBADF" }));
});

test("holes are told from data", () => {
  const descriptor = owned(createMemfd("test"));
  const size = 64 * page;
  ftruncateSync(descriptor, size);
  expect(dataRangesOf(descriptor, size)).toEqual([]);
  writeSync(descriptor, "x", 3 * page);
  writeSync(descriptor, "x", 4 * page + 17);
  writeSync(descriptor, "x", size - 1);
  expect(dataRangesOf(descriptor, size)).toEqual([
    [3 * page, 5 * page],
    [63 * page, size],
  ]);
  expect(dataRangesOf(descriptor, 4 * page)).toEqual([[3 * page, 4 * page]]);
  punchHole(descriptor, 3 * page, 2 * page);
  expect(dataRangesOf(descriptor, size)).toEqual([[63 * page, size]]);
  reserve(descriptor, 0, page);
  expect(dataRangesOf(descriptor, size)[0]).toBeDefined();
});

test("a memfd with huge pages is one, or is refused for want of them", () => {
  let descriptor: number;
  try {
    descriptor = owned(createMemfd("huge", { hugePageSize: 2 << 20 }));
  } catch (error) {
    expect(error).toMatchObject({ syscall: "memfd_create" });
    return;
  }
  expect(() => ftruncateSync(descriptor, page)).toThrow(expect.objectContaining({ code: "EINVAL" }));
  ftruncateSync(descriptor, 2 << 20);
});

describe("functions on pages", () => {
  test("are in a module that a thread can import by its URL", async () => {
    const { checksumPages } = (await import(pageFunctionsUrl)) as PageFunctions;
    const bytes = randomFillSync(new Uint8Array(3 * page));
    bytes.fill(0, page, 2 * page);
    const bitmap = Uint8Array.of(0b111);
    const sum = crc32(
      Buffer.concat([Buffer.of(0), bytes.subarray(0, page), Buffer.of(2), bytes.subarray(2 * page)]),
      99,
    );
    expect(checksumPages(bytes, bitmap, 99, true)).toBe(sum);
    expect(bitmap[0]).toBe(0b101);
  });

  test("refuse bytes that are not whole pages with a bit for each", async () => {
    const { checksumPages } = (await import(pageFunctionsUrl)) as PageFunctions;
    for (const [length, bits] of [
      [page + 1, 1],
      [9 * page, 1],
      [257 * page, 33],
    ] as const) {
      expect(() => checksumPages(new Uint8Array(length), new Uint8Array(bits), 0, true)).toThrow(RangeError);
    }
  });
});

describe("locks", () => {
  test("conflict between two openings of a file in one process, and end with the descriptor", () => {
    const first = file(page);
    const second = file(page);
    expect(tryLock(first, "exclusive")).toBe(true);
    expect(tryLock(second, "exclusive")).toBe(false);
    expect(tryLock(second, "shared")).toBe(false);
    closeSync(descriptors.shift() as number);
    expect(tryLock(second, "exclusive")).toBe(true);
  });

  test("that are shared suffer each other but no exclusive one", () => {
    const [first, second, third] = [file(page), file(page), file(page)];
    expect(tryLock(first, "shared")).toBe(true);
    expect(tryLock(second, "shared")).toBe(true);
    expect(tryLock(third, "exclusive")).toBe(false);
    expect(tryLock(first, "none")).toBe(true);
    expect(tryLock(second, "none")).toBe(true);
    expect(tryLock(third, "exclusive")).toBe(true);
  });

  test("do not end when another descriptor of the file is closed", () => {
    const first = file(page);
    expect(tryLock(first, "exclusive")).toBe(true);
    closeSync(openSync(join(folder, "ram"), "r+"));
    expect(tryLock(file(page), "exclusive")).toBe(false);
  });

  test("outlive the descriptor while a mapping lasts that was made with it", () => {
    const first = file(wasmPage);
    const target = new Uint8Array(memory(1).buffer);
    mapOver(target, { descriptor: first, visibility: "shared" });
    expect(tryLock(first, "exclusive")).toBe(true);
    closeSync(descriptors.shift() as number);
    const second = file(wasmPage);
    expect(tryLock(second, "exclusive")).toBe(false);
    mapOver(target, { descriptor: owned(createMemfdOf(wasmPage)), visibility: "shared" });
    expect(tryLock(second, "exclusive")).toBe(true);
  });

  test("tell their holder", () => {
    const descriptor = file(page);
    const found = fstatSync(descriptor);
    expect(findLockHolder(found)).toBeUndefined();
    tryLock(descriptor, "exclusive");
    expect(findLockHolder(found)).toBe(process.pid);
  });

  test("are not inherited by a program that is started", async () => {
    const descriptor = file(page);
    tryLock(descriptor, "exclusive");
    const child = spawn("sleep", ["60"]);
    await new Promise((resolve) => child.once("spawn", resolve));
    closeSync(descriptors.shift() as number);
    expect(tryLock(file(page), "exclusive")).toBe(true);
    child.kill();
  });
});

test("ranges are joined where they touch or overlap", () => {
  expect(
    unionOf(
      [
        [0, 10],
        [20, 30],
      ],
      [
        [5, 15],
        [30, 40],
        [50, 60],
      ],
    ),
  ).toEqual([
    [0, 15],
    [20, 40],
    [50, 60],
  ]);
  expect(unionOf([], [[1, 2]])).toEqual([[1, 2]]);
});

test("without the compiled addon there is an error that says what to do", () => {
  expect(() => loadAddon("../build/no-such.node")).toThrow(
    expect.objectContaining({
      code: "ERR_CPR_NATIVE_UNAVAILABLE",
      category: "host",
      hint: expect.stringContaining("C++ compiler"),
    }),
  );
  expect(nativeErrors.definitions.ERR_CPR_NATIVE_UNAVAILABLE.category).toBe("host");
});
