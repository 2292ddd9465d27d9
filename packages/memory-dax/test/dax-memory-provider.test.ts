import { readFileSync, rmSync } from "node:fs";
import { type CprError, isCprError, type MemoryBacking, type MemoryObjectOptions } from "@cpr/core";
import { afterEach, expect, test } from "vitest";
import { DaxMemoryProvider, takeApart } from "../src/index.ts";
import { FakeDaxHost, type FakeDaxOptions } from "./fake-host.ts";

const mebibyte = 1 << 20;
const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const each of cleanUp.splice(0).reverse()) {
    await each();
  }
});

function device(options?: FakeDaxOptions) {
  const host = new FakeDaxHost(options);
  cleanUp.push(() => host.remove());
  const provider = new DaxMemoryProvider(host);
  const open = async (changes: Partial<MemoryObjectOptions> = {}): Promise<MemoryBacking> => {
    const backing = await provider.open({
      type: "memory-backend-file",
      id: "ram0",
      size: 4 * mebibyte,
      "mem-path": host.device,
      share: true,
      ...changes,
    });
    cleanUp.push(() => backing.close());
    return backing;
  };
  const failure = async (changes: Partial<MemoryObjectOptions> = {}): Promise<CprError> => {
    const error = await open(changes).catch((reason: unknown) => reason);
    if (!isCprError(error)) {
      throw new Error(`expected a CprError, got ${error}`);
    }
    return error;
  };
  return { host, provider, open, failure };
}

function guestRam(size: number): Uint8Array {
  const pages = size / 65_536;
  return new Uint8Array(new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }).buffer);
}

test("RAM is the device's memory, and all of it is data", async () => {
  const { host, open } = device();
  const backing = await open();
  const ram = guestRam(4 * mebibyte);
  backing.mapInto(ram);
  ram[mebibyte] = 0x42;
  await backing.flush();
  expect(readFileSync(host.device)[mebibyte]).toBe(0x42);
  expect(backing.dataRanges()).toEqual([[0, 4 * mebibyte]]);
  expect(backing.supports).toEqual({ shared: true, survivesProcessExit: true, survivesReboot: true });
});

test("persistent memory is known by its UUID, whatever the kernel calls it; other memory by its name", async () => {
  const uuid = "8b81abe1-7352-46b9-8da2-712428f65b3b";
  expect((await device({ uuid }).open()).identity).toBe(`nvdimm-${uuid}`);
  expect((await device({ uuid, name: "dax1.0" }).open()).identity).toBe(`nvdimm-${uuid}`);
  expect((await device().open()).identity).toBe("dax0.0");
});

test.each(["node", "memory", "nowhere"] as const)("the alignment is that of the %s, or 2 MiB", async (alignAt) => {
  const { open, failure } = device({ alignAt, align: 2 * mebibyte });
  expect((await open()).alignment?.multiple).toBe(2 * mebibyte);
  expect(await failure({ size: 3 * mebibyte })).toMatchObject({
    code: "ERR_CPR_MEMORY_PAGE_SIZE",
    message: expect.stringContaining("multiple of its page size 0x200000"),
    hint: expect.stringContaining("`size=2097152`"),
  });
});

test("align can demand more than the device does, and not less", async () => {
  const { open, failure } = device({ align: 2 * mebibyte });
  expect(await failure({ align: 4096 })).toMatchObject({
    code: "ERR_CPR_MEMORY_ALIGN",
    message: "backing store align 0x200000 is larger than 'align' option 0x1000",
    hint: expect.stringContaining("`align=2097152`"),
  });
  expect((await open({ size: 2 * mebibyte, align: 4 * mebibyte })).alignment?.multiple).toBe(4 * mebibyte);
});

test.each([
  [{ driver: "kmem" }, "The kernel uses it as its own memory (system-ram)", "reconfigure-device --mode=devdax"],
  [{ driver: "none" }, "It is disabled", "enable-device dax0.0"],
  [{ size: 0, driver: "none" }, "It has no memory", "create-device"],
] as const)("a device that is not there to be mapped is refused: %o", async (options, reason, remedy) => {
  const { host, failure } = device(options);
  expect(await failure()).toMatchObject({
    code: "ERR_CPR_MEMORY_OPEN",
    message: `can't open backing store ${host.device} for guest RAM: ${reason}`,
    hint: expect.stringContaining(remedy),
  });
});

test("a node that may not be opened is refused", async () => {
  const { host, failure } = device();
  rmSync(host.device);
  expect(await failure()).toMatchObject({
    code: "ERR_CPR_MEMORY_OPEN",
    message: `can't open backing store ${host.device} for guest RAM: No such file or directory`,
  });
});

test.each(["cpu_cache", "memory_controller"])(
  "contents are there after a flush, with the domain %s",
  async (domain) => {
    const { host, open } = device({ persistenceDomain: domain });
    const backing = await open();
    const ram = guestRam(4 * mebibyte);
    backing.mapInto(ram);
    ram.fill(1);
    await backing.flush();
    expect(
      readFileSync(host.device)
        .subarray(0, 4 * mebibyte)
        .every((byte) => byte === 1),
    ).toBe(true);
  },
);

test("RAM begins at a multiple of the device's alignment", async () => {
  const { open } = device({ align: 2 * mebibyte });
  const backing = await open();
  const all = guestRam(6 * mebibyte);
  expect(() => backing.mapInto(all.subarray(mebibyte, 5 * mebibyte))).toThrow(
    expect.objectContaining({ code: "ERR_CPR_MEMORY_MAP" }),
  );
});

test("more than the device has is refused", async () => {
  const { host, failure } = device({ size: 2 * mebibyte });
  expect(await failure()).toMatchObject({
    code: "ERR_CPR_MEMORY_FILE_SIZE",
    message: `backing store ${host.device} size 0x200000 does not match 'size' option 0x400000`,
    hint: "Use `size=2097152`, or less.",
  });
});

test("a second VM on the device is refused", async () => {
  const { open, failure } = device();
  await open();
  expect(await failure()).toMatchObject({ code: "ERR_CPR_MEMORY_BUSY", details: { pid: process.pid } });
});

test("other character devices are refused, in words", async () => {
  const { host, failure } = device({ subsystem: "/sys/class/mem" });
  expect(await failure()).toMatchObject({
    code: "ERR_CPR_MEMORY_KIND",
    message: `backing store ${host.device} cannot be guest RAM: it is no device-DAX node`,
  });
  const onThisHost = new DaxMemoryProvider();
  const options = { type: "memory-backend-file", id: "ram0", size: mebibyte, "mem-path": "/dev/null", share: true };
  expect(await onThisHost.accepts(options)).toBe(true);
  await expect(onThisHost.open(options)).rejects.toMatchObject({ code: "ERR_CPR_MEMORY_KIND" });
});

test("only character devices are accepted", async () => {
  const options = { type: "memory-backend-file", id: "ram0", size: mebibyte, share: true };
  const provider = new DaxMemoryProvider();
  expect(await provider.accepts({ ...options, "mem-path": "/dev/shm/ram0" })).toBe(false);
  expect(await provider.accepts({ ...options, "mem-path": "/dev" })).toBe(false);
  expect(await provider.accepts({ ...options, type: "memory-backend-shm" })).toBe(false);
});

test.each([
  [{ share: false }, "share"],
  [{ readonly: true }, "readonly"],
  [{ align: 12_288 }, "align"],
])("%o is refused", async (changes, property) => {
  const { failure } = device();
  expect(await failure(changes)).toMatchObject({ code: "ERR_CPR_MEMORY_PROPERTY", details: { property } });
});

test("device numbers are taken apart as the C library does", () => {
  // makedev(0x12345, 0x6789a), and /dev/null
  expect(takeApart(0x0001_2000_6783_459a)).toEqual({ major: 0x12345, minor: 0x6789a });
  expect(takeApart(0x103)).toEqual({ major: 1, minor: 3 });
});
