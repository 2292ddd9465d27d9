import { readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { type CprError, isCprError, type MemoryBacking, type MemoryObjectOptions } from "@cpr/core";
import { afterEach, expect, test } from "vitest";
import { MemfdMemoryProvider } from "../src/index.ts";

const size = 1 << 20;
const provider = new MemfdMemoryProvider();
const opened: MemoryBacking[] = [];

afterEach(async () => {
  await Promise.all(opened.splice(0).map((backing) => backing.close()));
});

async function open(options: Partial<MemoryObjectOptions> = {}): Promise<MemoryBacking> {
  const backing = await provider.open({ type: "memory-backend-memfd", id: "ram0", size, ...options });
  opened.push(backing);
  return backing;
}

async function failure(options: Partial<MemoryObjectOptions>): Promise<CprError> {
  const error = await open(options).catch((reason: unknown) => reason);
  if (!isCprError(error)) {
    throw new Error(`expected a CprError, got ${error}`);
  }
  return error;
}

function guestRam(): Uint8Array {
  const pages = size / 65_536;
  return new Uint8Array(new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }).buffer);
}

/** The memfd as others that are given the descriptor would see it. */
function memfdPath(): string {
  const descriptor = readdirSync("/proc/self/fd").find((each) => {
    try {
      return readlinkSync(`/proc/self/fd/${each}`).startsWith("/memfd:ram0 ");
    } catch {
      return false;
    }
  });
  return `/proc/self/fd/${descriptor}`;
}

test("stores are in the memfd at once, and what is written to it is in RAM", async () => {
  const ram = guestRam();
  (await open()).mapInto(ram);
  ram[70_000] = 0x42;
  expect(readFileSync(memfdPath())[70_000]).toBe(0x42);
  writeFileSync(memfdPath(), "from elsewhere", { flag: "r+" });
  expect(Buffer.from(ram.slice(0, 14)).toString()).toBe("from elsewhere");
});

test("share=off keeps stores private, and dataRanges tells them", async () => {
  const ram = guestRam();
  const backing = await open({ share: false });
  backing.mapInto(ram);
  ram[3 * 4096] = 0x42;
  expect(readFileSync(memfdPath())[3 * 4096]).toBe(0);
  expect(backing.dataRanges()).toEqual([[3 * 4096, 4 * 4096]]);
  expect(backing.supports.shared).toBe(false);
});

test("nothing of it outlives the process", async () => {
  expect((await open()).supports).toEqual({ shared: true, survivesProcessExit: false, survivesReboot: false });
});

test("memory-backend-ram is served with share=on only", async () => {
  const options = { type: "memory-backend-ram", id: "ram0", size } as const;
  expect(await provider.accepts({ ...options, share: true })).toBe(true);
  expect(await provider.accepts({ ...options, share: false })).toBe(false);
  expect(await provider.accepts(options)).toBe(false);
});

test("the descriptor goes with the object", async () => {
  const backing = await open();
  const before = memfdPath();
  expect(readFileSync(before).length).toBe(size);
  await backing.close();
  expect(memfdPath()).toBe("/proc/self/fd/undefined");
});

test.each([
  [{ hugetlbsize: 2 << 20 }, "ERR_CPR_MEMORY_PROPERTY", /needs hugetlb=on/],
  [{ hugetlb: true, hugetlbsize: 3 << 20 }, "ERR_CPR_MEMORY_PROPERTY", /power of two/],
  [{ hugetlb: true, hugetlbsize: 4096 }, "ERR_CPR_MEMORY_PROPERTY", /power of two/],
  [{ hugetlb: true, hugetlbsize: 2 << 20 }, "ERR_CPR_MEMORY_PAGE_SIZE", /0x100000 of memfd .* page size 0x200000/],
  [{ hugetlb: true, hugetlbsize: 2 ** 40, size: 2 ** 40 }, "ERR_CPR_MEMORY_OPEN", /memfd for guest RAM/],
])("%o is refused", async (options, code, message) => {
  expect(await failure(options)).toMatchObject({ code, message: expect.stringMatching(message) });
});

test("huge pages hold the RAM, or their want is told", async () => {
  const huge = 2 << 20;
  const pages = huge / 65_536;
  const target = new Uint8Array(new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }).buffer);
  const backing = await open({ hugetlb: true, hugetlbsize: huge, size: huge }).catch((reason: unknown) => reason);
  const free = Number(readFileSync("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "utf8"));
  if (free > 0 && !isCprError(backing)) {
    (backing as MemoryBacking).mapInto(target);
    target.fill(1);
    expect(target.every((byte) => byte === 1)).toBe(true);
  } else {
    const map = () => {
      if (isCprError(backing)) throw backing;
      (backing as MemoryBacking).mapInto(target);
    };
    expect(map).toThrow(expect.objectContaining({ code: expect.stringMatching(/^ERR_CPR_MEMORY_(MAP|OPEN)$/) }));
  }
});
