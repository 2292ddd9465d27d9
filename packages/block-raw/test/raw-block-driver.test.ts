import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BlockDevice, BlockDeviceOptions, CprError } from "@cpr/core";
import { mapOver, reserveMemory } from "@cpr/native-mman";
import { afterEach, beforeEach, expect, test } from "vitest";
import { RawBlockDriver } from "../src/index.ts";

let folder: string;
let path: string;
let opened: BlockDevice[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "block-raw-"));
  path = join(folder, "disk.raw");
  opened = [];
  writeFileSync(path, Buffer.alloc(65_536, 1));
});

afterEach(async () => {
  await Promise.all(opened.map((device) => device.close()));
  rmSync(folder, { recursive: true });
});

async function open(changes: Partial<BlockDeviceOptions> = {}): Promise<BlockDevice> {
  const device = await new RawBlockDriver().open({
    id: "disk0",
    driver: "raw",
    path,
    readOnly: false,
    cache: { direct: false, noFlush: false },
    discard: "ignore",
    locking: true,
    ...changes,
  });
  opened.push(device);
  return device;
}

const failure = (changes: Partial<BlockDeviceOptions> = {}): Promise<CprError> =>
  open(changes).then(
    () => expect.unreachable("it was opened"),
    (error) => error as CprError,
  );

test.each([
  ["qcow2", "QFI\u00fb\0\0\0\u0003"],
  ["vmdk", "KDMV\u0001"],
  ["vmdk", "# Disk DescriptorFile\nversion=1\n"],
  ["vdi", `${"<<< Oracle VM VirtualBox Disk Image >>>\n".padEnd(64, "\0")}\u007f\u0010\u00da\u00be`],
  ["vhdx", "vhdxfile"],
  ["vpc", "conectix"],
])("what looks like %s is refused unless the format is said", async (format, head) => {
  writeFileSync(path, Buffer.concat([Buffer.from(head, "latin1"), Buffer.alloc(4096)]));
  const error = await failure({ assumed: true });
  expect(error).toMatchObject({ code: "ERR_CPR_BLOCK_FORMAT", category: "input", details: { path, format } });
  expect(error.hint).toContain(`qemu-img convert -O raw ${path} `);
  expect(error.hint).toContain("qemu-nbd");
  expect((await open()).size).toBe(Math.ceil((head.length + 4096) / 512) * 512);
});

test("a file without a signature is raw, however short", async () => {
  expect((await open({ assumed: true })).size).toBe(65_536);
  writeFileSync(path, "");
  expect((await open({ assumed: true })).size).toBe(0);
});

test("what is neither file nor disk is refused, and not waited for", async () => {
  expect(await failure({ path: "/dev/null" })).toMatchObject({ code: "ERR_CPR_BLOCK_KIND" });
  expect(await failure({ path: folder, readOnly: true })).toMatchObject({ code: "ERR_CPR_BLOCK_KIND" });
  expect(await failure({ path: folder })).toMatchObject({ message: `Could not open '${folder}': Is a directory` });
  const server = createServer().listen(join(folder, "socket"));
  await once(server, "listening");
  expect(await failure({ path: join(folder, "socket") })).toMatchObject({ code: "ERR_CPR_BLOCK_OPEN" });
  server.close();
});

test("an image that is missing is told as QEMU does", async () => {
  expect(await failure({ path: `${path}.other` })).toMatchObject({
    code: "ERR_CPR_BLOCK_OPEN",
    message: `Could not open '${path}.other': No such file or directory`,
  });
});

test("O_DIRECT is refused with what to use", async () => {
  expect(await failure({ cache: { direct: true, noFlush: false } })).toMatchObject({
    code: "ERR_CPR_BLOCK_OPTION",
    message: expect.stringContaining("cache=writeback"),
  });
});

test("the last sector of a file may be short: its rest is zero, and can be written", async () => {
  truncateSync(path, 1000);
  const device = await open();
  expect(device.size).toBe(1024);
  const sector = new Uint8Array(512).fill(7);
  await device.read(512, [sector.subarray(0, 500), sector.subarray(500)]);
  expect([...sector]).toEqual([...new Array(488).fill(1), ...new Array(24).fill(0)]);
  await device.write(512, [sector]);
  expect(statSync(path).size).toBe(1024);
});

test("discard=unmap makes holes, discard=ignore keeps the room", async () => {
  const blocks = () => statSync(path).blocks;
  const before = blocks();
  const keeping = await open();
  await keeping.discard(0, 32_768);
  await keeping.flush();
  expect(blocks()).toBe(before);
  const unmapping = await open({ discard: "unmap" });
  await unmapping.discard(0, 32_768);
  await unmapping.flush();
  expect(blocks()).toBeLessThan(before);
  await unmapping.writeZeroes(32_768, 16_384, true);
  await unmapping.flush();
  expect(blocks()).toBeLessThanOrEqual(before - 64);
});

test("RAM is read to and written from where it is a mapped file, as on KVM", async () => {
  const ramPath = join(folder, "ram0");
  writeFileSync(ramPath, Buffer.alloc(65_536));
  const descriptor = openSync(ramPath, "r+");
  const ram = reserveMemory(65_536);
  mapOver(ram, { descriptor, visibility: "shared" });
  const device = await open();
  await device.read(0, [ram.subarray(100, 356), ram.subarray(4096, 4352)]);
  const inFile = readFileSync(ramPath);
  expect([99, 100, 355, 356, 4095, 4096, 4351, 4352].map((at) => inFile[at])).toEqual([0, 1, 1, 0, 0, 1, 1, 0]);
  writeSync(descriptor, Buffer.alloc(512, 9), 0, 512, 8192);
  await device.write(512, [ram.subarray(8192, 8704)]);
  expect(
    readFileSync(path)
      .subarray(512, 1024)
      .every((byte) => byte === 9),
  ).toBe(true);
  closeSync(descriptor);
});

test("another process has the image, and is named", async () => {
  await (await open()).lock();
  const { findings, pid } = await inAnotherProcess(false);
  expect(findings).toEqual({
    message: 'Failed to get "write" lock',
    hint: `Is another process using the image [${path}]? It is process ${process.pid}.`,
    exitCategory: "busy",
  });
  expect(pid).not.toBe(process.pid);
  expect((await inAnotherProcess(true)).findings).toMatchObject({ message: 'Failed to get shared "write" lock' });
});

test("readers share an image, and keep a writer away", async () => {
  await (await open({ readOnly: true })).lock();
  expect((await inAnotherProcess(true)).findings).toBe("locked");
  expect((await inAnotherProcess(false)).findings).toMatchObject({ message: 'Failed to get "write" lock' });
});

/** Opens and locks the image in another process, and tells what came of it. */
async function inAnotherProcess(readOnly: boolean): Promise<{ findings: unknown; pid: number | undefined }> {
  const options = {
    ...{ id: "disk0", driver: "raw", path, readOnly, cache: { direct: false, noFlush: false } },
    ...{ discard: "ignore", locking: true },
  };
  const script = `
    const { RawBlockDriver } = await import(${JSON.stringify(new URL("../src/index.ts", import.meta.url).href)});
    const device = await new RawBlockDriver().open(${JSON.stringify(options)});
    const told = await device.lock().then(() => "locked", ({ message, hint, category: exitCategory }) => ({ message, hint, exitCategory }));
    console.log(JSON.stringify(told));
    await device.close();`;
  const child = spawn(process.execPath, ["--conditions=source", "--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    output += text;
  });
  await once(child, "close");
  return { findings: JSON.parse(output), pid: child.pid };
}
