import { expect, test } from "vitest";
import { AnonymousMemoryProvider } from "../src/index.ts";

const size = 1 << 20;
const provider = new AnonymousMemoryProvider();
const options = { type: "memory-backend-ram", id: "ram0", size } as const;

function guestRam(): Uint8Array {
  const pages = size / 65_536;
  return new Uint8Array(new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }).buffer);
}

test("memory-backend-ram is served unless it is to be shared", async () => {
  expect(await provider.accepts(options)).toBe(true);
  expect(await provider.accepts({ ...options, share: false })).toBe(true);
  expect(await provider.accepts({ ...options, share: true })).toBe(false);
});

test("nothing of it outlives the process", async () => {
  const { supports } = await provider.open(options);
  expect(supports).toEqual({ shared: false, survivesProcessExit: false, survivesReboot: false });
});

test("pages that were never touched are no data", async () => {
  const backing = await provider.open(options);
  expect(backing.dataRanges()).toEqual([]);
  const ram = guestRam();
  backing.mapInto(ram);
  ram[7 * 4096] = 1;
  expect(backing.dataRanges()).toEqual([[7 * 4096, 8 * 4096]]);
});

test("prealloc=on touches every page", async () => {
  const backing = await provider.open({ ...options, prealloc: true });
  backing.mapInto(guestRam());
  expect(backing.dataRanges()).toEqual([[0, size]]);
});

test("it is mapped once, for nobody else could see the same bytes", async () => {
  const backing = await provider.open(options);
  backing.mapInto(guestRam());
  expect(() => backing.mapInto(guestRam())).toThrow(TypeError);
});
