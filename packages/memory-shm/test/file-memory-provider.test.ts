import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CprError, isCprError, type MemoryBacking, type MemoryObjectOptions } from "@cpr/core";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FileMemoryProvider } from "../src/index.ts";

const size = 1 << 20;
const provider = new FileMemoryProvider();
let folder: string;
let path: string;
let opened: MemoryBacking[];

beforeEach(() => {
  folder = mkdtempSync("/dev/shm/memory-shm-");
  path = join(folder, "ram0");
  opened = [];
});

afterEach(async () => {
  await Promise.all(opened.map((backing) => backing.close()));
  rmSync(folder, { recursive: true });
});

async function open(options: Partial<MemoryObjectOptions> = {}): Promise<MemoryBacking> {
  const backing = await provider.open({
    type: "memory-backend-file",
    id: "ram0",
    size,
    "mem-path": path,
    share: true,
    ...options,
  });
  opened.push(backing);
  return backing;
}

async function failure(options: Partial<MemoryObjectOptions> = {}): Promise<CprError> {
  const error = await open(options).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!isCprError(error)) {
    throw new Error(`expected a CprError, got ${error}`);
  }
  return error;
}

function guestRam(): Uint8Array {
  const pages = size / 65_536;
  return new Uint8Array(new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }).buffer);
}

test("the file is made with the object's size, for its owner only", async () => {
  const made = await open();
  expect(made.created).toBe(true);
  expect(statSync(path)).toMatchObject({ size, mode: 0o100600 });
  await made.close();
  expect((await open()).created).toBe(false);
});

test("an empty file gets the size, a link is followed", async () => {
  writeFileSync(path, "");
  symlinkSync(path, join(folder, "link"));
  expect((await open({ "mem-path": join(folder, "link") })).created).toBe(true);
  expect(statSync(path).size).toBe(size);
});

test.each([size / 2, size - 1, 2 * size])("a file of %i bytes is refused and keeps every byte", async (length) => {
  writeFileSync(path, Buffer.alloc(length, 0x5a));
  expect(await failure()).toMatchObject({
    code: "ERR_CPR_MEMORY_FILE_SIZE",
    category: "input",
    message: `backing store ${path} size 0x${length.toString(16)} does not match 'size' option 0x100000`,
    details: { path, size, actual: length },
  });
  expect(readFileSync(path).equals(Buffer.alloc(length, 0x5a))).toBe(true);
});

test("stores through the WebAssembly memory are in the file at once, and the other way round", async () => {
  const ram = guestRam();
  (await open()).mapInto(ram);
  ram[4097] = 0x42;
  expect(readFileSync(path)[4097]).toBe(0x42);
  expect(readFileSync(path).length).toBe(size);
});

/** Another process, with its own mapping of the file over its own WebAssembly memory; it answers each line. */
const otherProcess = `
  import { openSync } from "node:fs";
  import { createInterface } from "node:readline";
  import { mapOver } from ${JSON.stringify(import.meta.resolve("@cpr/native-mman").replace("/src/index.ts", "/dist/index.js"))};
  const memory = new WebAssembly.Memory({ initial: 16, maximum: 16, shared: true });
  const view = new Uint8Array(memory.buffer);
  mapOver(view, { descriptor: openSync(process.argv[1], "r+"), visibility: "shared" });
  const cells = new Int32Array(memory.buffer);
  for await (const line of createInterface({ input: process.stdin })) {
    const [verb, at, value] = line.split(" ");
    console.log(verb === "load" ? Atomics.load(cells, Number(at)) : Atomics.store(cells, Number(at), Number(value)));
  }
`;

test("another process that maps the file sees the guest's stores at once, and the guest sees its stores", async () => {
  const memory = new WebAssembly.Memory({ initial: 16, maximum: 16, shared: true });
  (await open()).mapInto(new Uint8Array(memory.buffer));
  // The guest's stores are made by WebAssembly code, as the interpreter's are.
  const { store, load } = (await guestCode(memory)) as {
    store: (at: number, value: number) => void;
    load: (at: number) => number;
  };
  const child = spawn(process.execPath, ["--input-type=module", "--eval", otherProcess, path], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = child.stdout.setEncoding("utf8")[Symbol.asyncIterator]();
  const ask = async (line: string) => {
    child.stdin.write(`${line}\n`);
    return Number((await lines.next()).value);
  };
  for (let round = 1; round <= 20; round++) {
    const cell = (round * 12_345) % (size / 4);
    store(cell * 4, round);
    expect(await ask(`load ${cell}`)).toBe(round);
    expect(await ask(`store ${cell} ${-round}`)).toBe(-round);
    expect(load(cell * 4)).toBe(-round);
  }
  child.stdin.end();
  await once(child, "exit");
});

/**
 * A module that imports `e.m`, and exports `store(at, value)` and `load(at)` (WebAssembly core specification §5):
 * i32.store and i32.load, assembled by hand.
 */
async function guestCode(memory: WebAssembly.Memory): Promise<WebAssembly.Exports> {
  const section = (id: number, ...bytes: number[]) => [id, bytes.length, ...bytes];
  const text = (value: string) => [value.length, ...Buffer.from(value)];
  const body = (...code: number[]) => [code.length + 2, 0, ...code, 0x0b];
  const bytes = [
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, 2, 0x60, 2, 0x7f, 0x7f, 0, 0x60, 1, 0x7f, 1, 0x7f),
    ...section(2, 1, ...text("e"), ...text("m"), 0x02, 0x03, 16, 16),
    ...section(3, 2, 0, 1),
    ...section(7, 2, ...text("store"), 0, 0, ...text("load"), 0, 1),
    ...section(10, 2, ...body(0x20, 0, 0x20, 1, 0x36, 2, 0), ...body(0x20, 0, 0x28, 2, 0)),
  ];
  const { instance } = await WebAssembly.instantiate(Uint8Array.from(bytes), { e: { m: memory } });
  return instance.exports;
}

test("what a process that was killed had stored is there, and its lock is gone", async () => {
  const child = spawn(
    process.execPath,
    [
      "--input-type=module",
      "--eval",
      `import { FileMemoryProvider } from ${JSON.stringify(new URL("../dist/index.js", import.meta.url).href)};
       const backing = await new FileMemoryProvider().open({
         type: "memory-backend-file", id: "ram0", size: ${size}, "mem-path": process.argv[1], share: true,
       });
       const ram = new Uint8Array(new WebAssembly.Memory({ initial: 16, maximum: 16, shared: true }).buffer);
       backing.mapInto(ram);
       ram.fill(0x77);
       console.log("stored");
       setInterval(() => {}, 1000);`,
      path,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  await once(child.stdout, "data");
  expect(await failure()).toMatchObject({
    code: "ERR_CPR_MEMORY_BUSY",
    category: "busy",
    message: `${path} is the RAM of another VM, in process ${child.pid}: nothing was changed`,
  });
  child.kill("SIGKILL");
  await once(child, "exit");
  const ram = guestRam();
  (await open()).mapInto(ram);
  expect(ram.every((byte) => byte === 0x77)).toBe(true);
});

describe("share=off", () => {
  test("is a clone: it begins with the file's contents and leaves them alone", async () => {
    writeFileSync(path, Buffer.alloc(size, 0x11));
    const [first, second] = [guestRam(), guestRam()];
    (await open({ share: false })).mapInto(first);
    (await open({ share: false })).mapInto(second);
    expect(first.every((byte) => byte === 0x11)).toBe(true);
    first.fill(0x22);
    expect(second.every((byte) => byte === 0x11)).toBe(true);
    expect(readFileSync(path).every((byte) => byte === 0x11)).toBe(true);
  });

  test("is the default, as in QEMU", async () => {
    const backing = await provider.open({ type: "memory-backend-file", id: "ram0", size, "mem-path": path });
    opened.push(backing);
    expect(backing.supports).toEqual({ shared: false, survivesProcessExit: false, survivesReboot: false });
  });

  test("tells what the clone stored beside what the file has", async () => {
    const template = await open();
    const templateRam = guestRam();
    template.mapInto(templateRam);
    templateRam[2 * 4096] = 1;
    await template.close();
    const backing = await open({ share: false });
    const ram = guestRam();
    backing.mapInto(ram);
    expect(backing.dataRanges()).toEqual([[2 * 4096, 3 * 4096]]);
    ram[5 * 4096] = 1;
    expect(backing.dataRanges()).toEqual([
      [2 * 4096, 3 * 4096],
      [5 * 4096, 6 * 4096],
    ]);
  });

  test("and a VM that shares the file exclude each other", async () => {
    const clone = await open({ share: false });
    expect((await failure()).code).toBe("ERR_CPR_MEMORY_BUSY");
    await clone.close();
    await open();
    expect((await failure({ share: false })).code).toBe("ERR_CPR_MEMORY_BUSY");
  });

  test("works on a file that may only be read, with readonly=on", async () => {
    writeFileSync(path, Buffer.alloc(size, 0x33), { mode: 0o400 });
    const ram = guestRam();
    (await open({ share: false, readonly: true })).mapInto(ram);
    ram[0] = 1;
    expect(ram[1]).toBe(0x33);
    expect(readFileSync(path)[0]).toBe(0x33);
  });

  test("with readonly=on makes no file", async () => {
    expect(await failure({ share: false, readonly: true })).toMatchObject({ code: "ERR_CPR_MEMORY_OPEN" });
    expect(readdirSync(folder)).toEqual([]);
  });
});

test("a directory means a file without a name", async () => {
  const backing = await open({ "mem-path": folder });
  expect(readdirSync(folder)).toEqual([]);
  expect(backing.supports).toEqual({ shared: true, survivesProcessExit: false, survivesReboot: false });
  backing.mapInto(guestRam());
});

test("what survives follows from the file system", async () => {
  expect((await open()).supports).toEqual({ shared: true, survivesProcessExit: true, survivesReboot: false });
  const disk = mkdtempSync(join(tmpdir(), "memory-shm-"));
  try {
    const isVolatile = statfsSync(disk).type === 0x0102_1994;
    expect((await open({ "mem-path": join(disk, "ram0") })).supports).toEqual({
      shared: true,
      survivesProcessExit: true,
      survivesReboot: !isVolatile,
    });
  } finally {
    rmSync(disk, { recursive: true });
  }
});

test("only pages that were stored to are data", async () => {
  const backing = await open();
  const ram = guestRam();
  backing.mapInto(ram);
  ram[3 * 4096] = 1;
  ram[4 * 4096] = 1;
  expect(backing.dataRanges()).toEqual([[3 * 4096, 5 * 4096]]);
});

test("a file that was made and not used can be discarded; one that was there, was stored to or was replaced stays", async () => {
  const unused = await open();
  unused.discard?.();
  await unused.close();
  expect(readdirSync(folder)).toEqual([]);
  const used = await open();
  const ram = guestRam();
  used.mapInto(ram);
  ram[0] = 1;
  used.discard?.();
  await used.close();
  expect(statSync(path).size).toBe(size);
  const there = await open();
  expect(there.discard).toBeUndefined();
  await there.close();
  rmSync(path);
  const replaced = await open();
  rmSync(path);
  writeFileSync(path, "another file");
  replaced.discard?.();
  await replaced.close();
  expect(readFileSync(path, "latin1")).toBe("another file");
});

test("prealloc=on reserves the whole file", async () => {
  await open({ prealloc: true });
  expect(statSync(path).blocks * 512).toBe(size);
});

test("more than the file system has room for is refused, and nothing is left behind", async () => {
  const { bavail, bsize } = statfsSync(folder);
  const available = bavail * bsize;
  const error = await failure({ size: available + (1 << 30) });
  expect(error).toMatchObject({ code: "ERR_CPR_MEMORY_NO_SPACE", category: "host" });
  expect(error.hint).toContain("remount");
  expect(readdirSync(folder)).toEqual([]);
});

test("a file that cannot get the size stays empty", async () => {
  writeFileSync(path, "");
  const { bavail, bsize } = statfsSync(folder);
  expect((await failure({ size: bavail * bsize + (1 << 30) })).code).toBe("ERR_CPR_MEMORY_NO_SPACE");
  expect(statSync(path).size).toBe(0);
});

test("a missing directory is told, with what to do", async () => {
  expect(await failure({ "mem-path": join(folder, "a", "ram0") })).toMatchObject({
    code: "ERR_CPR_MEMORY_OPEN",
    message: `can't open backing store ${folder}/a/ram0 for guest RAM: No such file or directory`,
    hint: `Make the directory first: mkdir -p ${folder}/a`,
  });
});

test("a link to nowhere in a missing directory is refused, not followed for ever", async () => {
  symlinkSync(join(folder, "a", "ram0"), path);
  expect((await failure()).code).toBe("ERR_CPR_MEMORY_OPEN");
});

test("a directory or file that may not be written is told", async () => {
  // Root may write anywhere, except where the file system has no files to write: /proc.
  expect((await failure({ "mem-path": "/proc/ram0" })).code).toBe("ERR_CPR_MEMORY_OPEN");
  if (process.getuid?.() !== 0) {
    writeFileSync(path, "", { mode: 0o400 });
    expect((await failure()).message).toContain("Permission denied");
  }
});

test("what is neither file nor directory is refused", async () => {
  const server = createServer().listen(join(folder, "socket"));
  await once(server, "listening");
  expect(await failure({ "mem-path": join(folder, "socket") })).toMatchObject({
    code: "ERR_CPR_MEMORY_KIND",
    message: `backing store ${folder}/socket cannot be guest RAM: it is a socket`,
  });
  server.close();
  expect(await failure({ "mem-path": "/dev/null" })).toMatchObject({ details: { kind: "a character device" } });
});

test("a character device is left to the provider for device DAX", async () => {
  const options = { type: "memory-backend-file", id: "ram0", size } as const;
  expect(await provider.accepts({ ...options, "mem-path": "/dev/null" })).toBe(false);
  expect(await provider.accepts({ ...options, "mem-path": path })).toBe(true);
  expect(await provider.accepts({ ...options, "mem-path": folder })).toBe(true);
  expect(await provider.accepts({ ...options, type: "memory-backend-memfd" })).toBe(false);
});

test.each([
  [{ share: true, readonly: true }, "readonly"],
  [{ type: "memory-backend-shm", share: false }, "share"],
  [{ align: 3 }, "align"],
  [{ align: 0 }, "align"],
  [{ "mem-path": "" }, "mem-path"],
])("%o is refused and nothing is made", async (options, property) => {
  expect(await failure(options)).toMatchObject({ code: "ERR_CPR_MEMORY_PROPERTY", details: { property } });
  expect(readdirSync(folder)).toEqual([]);
});

test("an alignment that the RAM does not have is refused when it is mapped", async () => {
  const backing = await open({ align: 2 ** 50 });
  expect(() => backing.mapInto(guestRam())).toThrow(expect.objectContaining({ code: "ERR_CPR_MEMORY_MAP" }));
  const aligned = await open({ "mem-path": join(folder, "ram1"), align: 65_536 });
  aligned.mapInto(guestRam());
});

test.each(["ram0", "."])("pmem=on needs DAX, and nothing is made without it: %s", async (name) => {
  const error = await failure({ "mem-path": join(folder, name), pmem: true });
  expect(error).toMatchObject({ code: "ERR_CPR_MEMORY_PMEM", hint: expect.stringContaining("dax=always") });
  expect(readdirSync(folder)).toEqual([]);
});

test("pmem=on means nothing for a clone", async () => {
  (await open()).mapInto(guestRam());
  await Promise.all(opened.map((backing) => backing.close()));
  (await open({ pmem: true, share: false })).mapInto(guestRam());
});

test("a missing device is no file to be made", async () => {
  expect(await failure({ "mem-path": "/dev/dax99.0" })).toMatchObject({
    code: "ERR_CPR_MEMORY_OPEN",
    message: "can't open backing store /dev/dax99.0 for guest RAM: No such file or directory",
    hint: expect.stringContaining("daxctl list"),
  });
  expect(existsSync("/dev/dax99.0")).toBe(false);
});

test("two starts at the same moment leave one VM with the RAM", async () => {
  mkdirSync(join(folder, "sub"));
  const results = await Promise.allSettled([open(), open(), open()]);
  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  expect(statSync(path).size).toBe(size);
});
