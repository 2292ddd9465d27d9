/**
 * The compliance suite of the `MemoryProvider` contract.
 *
 * @example
 * ```ts
 * memoryProviderCompliance({
 *   name: "shm on tmpfs",
 *   create: () => new FileMemoryProvider(),
 *   place: async () => {
 *     const folder = await mkdtemp("/dev/shm/memory-shm-");
 *     return {
 *       options: { type: "memory-backend-file", id: "ram0", "mem-path": join(folder, "ram0"), share: true },
 *       close: () => rm(folder, { recursive: true }),
 *     };
 *   },
 * });
 * ```
 *
 * @packageDocumentation
 */
import assert from "node:assert/strict";
import { crc32 } from "node:zlib";
import type {
  MemoryBacking,
  MemoryObjectOptions,
  MemoryProvider,
  OpenMemoryOptions,
  PageFunctions,
  RamAlignment,
  ReclaimFunction,
} from "@cpr/core";
import { CaseList, type ComplianceCase } from "./compliance-case.ts";
import { equalBytes, pseudoRandomBytes, rejectsWithCprError } from "./expectations.ts";

/** An object that no other case uses. */
export interface MemoryPlace {
  /** How it is asked for; the suite chooses the size. */
  readonly options: Omit<MemoryObjectOptions, "size">;
  /** Removes all that a case left there. */
  close(): Promise<void>;
}

/** A memory provider to be tested, with one kind of object that it serves. */
export interface MemoryProviderFixture {
  readonly name: string;
  /** Called for each case. */
  create(): MemoryProvider;
  place(): Promise<MemoryPlace>;
  /** Bytes of RAM that the cases use: a multiple of what the object's size must be. 1 MiB by default. */
  readonly size?: number;
}

const wasmPage = 65_536;
const properties = ["shared", "survivesProcessExit", "survivesReboot"] as const;

/** The cases for one memory provider, as data. What an object supports is asked of an object, so there is a promise. */
export async function memoryProviderCases(fixture: MemoryProviderFixture): Promise<readonly ComplianceCase[]> {
  const size = fixture.size ?? 1 << 20;
  const { supports: claimed, name } = fixture.create();
  const list = new CaseList();

  /** Runs a case with objects that are closed afterwards. */
  const withPlace = (body: (specimen: Specimen) => Promise<void> | void) => async () => {
    const place = await fixture.place();
    const specimen = new Specimen(fixture.create(), { ...place.options, size });
    try {
      await body(specimen);
    } finally {
      await specimen.closeAll();
      await place.close();
    }
  };

  let supports = claimed;
  let handsOver = false;
  let alignment: RamAlignment | undefined;
  await withPlace(async (specimen) => {
    const backing = await specimen.open();
    supports = backing.supports;
    handsOver = backing.ownership !== undefined;
    alignment = backing.alignment;
  })();
  const addressSpace = (): AddressSpace => reserveAddressSpace(size, alignment);

  list
    .add("says the same about what it supports every time", () => {
      const other = fixture.create();
      assert.deepEqual(other.supports, claimed);
      assert.equal(other.name, name);
      assert.ok(other.objectTypes.length > 0, "it serves no type of object");
      for (const property of properties) {
        assert.equal(typeof claimed[property], "boolean", `supports.${property}`);
      }
    })
    .add(
      "opens objects that support no more than it says",
      withPlace(async (specimen) => {
        const backing = await specimen.open();
        assert.deepEqual(backing.supports, supports, "an object like the last one supports something else");
        for (const property of properties) {
          assert.ok(claimed[property] || !backing.supports[property], `supports.${property}`);
        }
        assert.ok(
          !supports.survivesReboot || supports.survivesProcessExit,
          "what survives a reboot survives a process",
        );
        assert.ok(!supports.survivesProcessExit || supports.shared, "what others find must be what the guest stored");
      }),
    )
    .add(
      "accepts its objects and no others, again and again",
      withPlace(async ({ provider, options }) => {
        assert.equal(await provider.accepts(options), true);
        assert.equal(await provider.accepts(options), true);
        assert.equal(await provider.accepts({ ...options, type: "memory-backend-no-such" }), false);
        assert.ok(provider.objectTypes.includes(options.type), `objectTypes lacks ${options.type}`);
      }),
    )
    .add(
      "gives an object with the id and size that were asked for, and tells where it is",
      withPlace(async (specimen) => {
        const backing = await specimen.open();
        assert.equal(backing.id, specimen.options.id);
        assert.equal(backing.size, size);
        assert.match(backing.location, /\S/);
        assert.equal(backing.identity !== undefined, supports.survivesProcessExit, "an identity belongs to a name");
      }),
    )
    .add(
      "gives zeros at first, and touches nothing beside the target",
      withPlace(async (specimen) => {
        const { all, target } = addressSpace();
        all.fill(0xee);
        target.fill(0);
        (await specimen.open()).mapInto(target);
        assert.ok(isFilledWith(target, 0), "a new object is not zero");
        const before = all.subarray(0, wasmPage);
        const after = all.subarray(wasmPage + size);
        assert.ok(isFilledWith(before, 0xee) && isFilledWith(after, 0xee), "bytes beside the target changed");
        assert.equal(after.length, wasmPage);
      }),
    )
    .add(
      "keeps what is stored in the target, to its last byte",
      withPlace(async (specimen) => {
        const { target } = addressSpace();
        (await specimen.open()).mapInto(target);
        const bytes = pseudoRandomBytes(size);
        target.set(bytes);
        equalBytes(target, bytes, "the target");
      }),
    )
    .add(
      "refuses a target of another size",
      withPlace(async (specimen) => {
        const backing = await specimen.open();
        const { all } = addressSpace();
        all.fill(1);
        assert.throws(() => backing.mapInto(all.subarray(0, size - 4096)), TypeError);
        assert.throws(() => backing.mapInto(all.subarray(0, size + 4096)), TypeError);
        assert.ok(isFilledWith(all, 1), "the target changed");
      }),
    )
    .add(
      "leaves nothing out of its data ranges that was stored",
      withPlace(async (specimen) => {
        const backing = await specimen.open();
        const { target } = addressSpace();
        backing.mapInto(target);
        const stored = [0, 5 * 4096 + 17, size / 2, size - 1];
        for (const at of stored) {
          target[at] = 0xaa;
        }
        const ranges = backing.dataRanges();
        let last = -1;
        for (const [start, end] of ranges) {
          assert.ok(start > last && end > start && end <= size, `range ${start} to ${end} after ${last}`);
          last = end - 1;
        }
        for (const at of stored) {
          assert.ok(
            ranges.some(([start, end]) => at >= start && at < end),
            `byte ${at} is left out`,
          );
        }
      }),
    )
    .add(
      "names functions on pages, if it does, that give what a CRC-32 of the same bytes gives",
      withPlace(async (specimen) => {
        const { pageFunctions } = await specimen.open();
        if (pageFunctions === undefined) {
          return;
        }
        let functions: PageFunctions;
        try {
          functions = (await import(pageFunctions)) as PageFunctions;
        } catch {
          // Not for this host.
          return;
        }
        checkPageFunctions(functions);
      }),
    )
    .add(
      "gives pages back, if it says how: they are zero or as they were, and all others as they were",
      withPlace(async (specimen) => {
        const backing = await specimen.open();
        if (backing.reclaim === undefined) {
          return;
        }
        let give: ReclaimFunction;
        try {
          ({ reclaim: give } = (await import(backing.reclaim.module)) as { reclaim: ReclaimFunction });
        } catch {
          // Not for this host.
          return;
        }
        const { target } = addressSpace();
        backing.mapInto(target);
        const bytes = pseudoRandomBytes(size);
        target.set(bytes);
        const [start, end] = [size / 4, size / 2];
        const pages = target.subarray(start, end);
        give(pages, backing.reclaim.shared);
        const kept = pages.every((byte, at) => byte === bytes[start + at]);
        if (!kept) bytes.fill(0, start, end);
        equalBytes(target, bytes, "RAM after pages were given back");
        // They can be used again.
        pages.fill(1);
        bytes.fill(1, start, end);
        equalBytes(target, bytes, "RAM that is used again");
      }),
    )
    .add(
      "flushes without changing anything",
      withPlace(async (specimen) => {
        const backing = await specimen.open();
        const { target } = addressSpace();
        backing.mapInto(target);
        const bytes = pseudoRandomBytes(size);
        target.set(bytes);
        await backing.flush();
        await backing.flush();
        equalBytes(target, bytes, "the target");
      }),
    )
    .add(
      "leaves the mapping when it is closed, and can be closed twice",
      withPlace(async (specimen) => {
        const backing = await specimen.open();
        const { target } = addressSpace();
        backing.mapInto(target);
        target.fill(7);
        await backing.close();
        await backing.close();
        assert.ok(isFilledWith(target, 7), "the mapping changed");
        target[0] = 8;
        assert.throws(() => backing.mapInto(target), TypeError);
      }),
    )
    .add(
      "refuses sizes that are not whole pages, and makes nothing",
      withPlace(async (specimen) => {
        for (const wrong of [0, -4096, 4095, 4097, 1.5, Number.NaN]) {
          await rejectsWithCprError(specimen.open({ size: wrong }), "ERR_CPR_MEMORY_SIZE");
        }
        const backing = await specimen.open();
        assert.equal(backing.size, size);
      }),
    )
    .add(
      "gives separate bytes to separate objects",
      withPlace(async (specimen) => {
        const other = await fixture.place();
        const second = new Specimen(fixture.create(), { ...other.options, size });
        try {
          const { target } = addressSpace();
          const { target: otherTarget } = addressSpace();
          (await specimen.open()).mapInto(target);
          (await second.open()).mapInto(otherTarget);
          target.fill(1);
          otherTarget.fill(2);
          assert.ok(isFilledWith(target, 1), "another object's stores are seen");
        } finally {
          await second.closeAll();
          await other.close();
        }
      }),
    )
    .add(
      "preallocates without changing contents",
      withPlace(async (specimen) => {
        const { target } = addressSpace();
        (await specimen.open({ prealloc: true })).mapInto(target);
        assert.ok(isFilledWith(target, 0), "preallocated memory is not zero");
        target.fill(3);
        assert.ok(isFilledWith(target, 3));
      }),
    )
    .addIf(
      supports.shared,
      "shows the same bytes wherever it is mapped, at once",
      withPlace(async (specimen) => {
        const backing = await specimen.open();
        const { target: first } = addressSpace();
        const { target: second } = addressSpace();
        backing.mapInto(first);
        backing.mapInto(second);
        for (const at of [0, 4095, 4096, size - 1]) {
          first[at] = 0x5a;
          assert.equal(second[at], 0x5a, `byte ${at}`);
          second[at] = 0xa5;
          assert.equal(first[at], 0xa5, `byte ${at}, the other way`);
        }
      }),
    )
    .addIf(
      supports.survivesProcessExit,
      "gives what was stored to who opens it again",
      withPlace(async (specimen) => {
        const bytes = pseudoRandomBytes(size, 11);
        const { target } = addressSpace();
        const backing = await specimen.open();
        backing.mapInto(target);
        target.set(bytes);
        await backing.flush();
        await backing.close();
        const again = await specimen.open();
        const { target: other } = addressSpace();
        again.mapInto(other);
        equalBytes(other, bytes, "what was found");
        assert.equal(again.identity, backing.identity);
        assert.equal(again.created, false, "it says that it made what it found");
      }),
    )
    .addIf(
      handsOver,
      "goes from one who has it to another who waits, and back",
      withPlace(async (specimen) => {
        const { target } = addressSpace();
        const { target: otherTarget } = addressSpace();
        const backing = await specimen.open();
        backing.mapInto(target);
        const waiting = await specimen.open({}, { waiting: true });
        waiting.mapInto(otherTarget);
        target.fill(9);
        const [first, second] = [backing.ownership, waiting.ownership];
        assert.ok(first !== undefined && second !== undefined, "one of two has no ownership");
        assert.deepEqual([first.held, second.held, second.acquire(), second.held], [true, false, false, false]);
        assert.equal(waiting.created, false, "it says that it made what it found");
        first.release();
        assert.deepEqual([first.held, second.acquire(), second.acquire(), second.held], [false, true, true, true]);
        assert.equal(first.acquire(), false, "both have it");
        assert.ok(isFilledWith(otherTarget, 9), "the bytes have changed on the way");
        second.release();
        assert.equal(first.acquire(), true, "it does not come back");
      }),
    )
    .addIf(
      supports.survivesProcessExit,
      "refuses a second opening while the first lasts, and does no damage",
      withPlace(async (specimen) => {
        const { target } = addressSpace();
        const backing = await specimen.open();
        backing.mapInto(target);
        target.fill(9);
        const error = await rejectsWithCprError(specimen.open(), "ERR_CPR_MEMORY_BUSY");
        assert.ok(error.message.includes(String(error.details.path)), "the error does not tell the path");
        assert.ok(isFilledWith(target, 9), "the first one's bytes changed");
        await rejectsWithCprError(specimen.open(), "ERR_CPR_MEMORY_BUSY");
        await backing.close();
        await specimen.open();
      }),
    )
    .addIf(
      supports.survivesProcessExit,
      "refuses another size than the object has, and leaves the object as it is",
      withPlace(async (specimen) => {
        const { target } = addressSpace();
        const backing = await specimen.open();
        backing.mapInto(target);
        target.fill(6);
        await backing.close();
        await rejectsWithCprError(specimen.open({ size: 2 * size }));
        await rejectsWithCprError(specimen.open({ size: 4 * size }));
        const { target: other } = addressSpace();
        (await specimen.open()).mapInto(other);
        assert.ok(isFilledWith(other, 6), "the contents changed");
      }),
    )
    .addIf(
      !supports.survivesProcessExit,
      "gives zeros again to who opens it again",
      withPlace(async (specimen) => {
        const { target } = addressSpace();
        const backing = await specimen.open();
        backing.mapInto(target);
        target.fill(4);
        await backing.close();
        const { target: other } = addressSpace();
        const again = await specimen.open();
        again.mapInto(other);
        assert.ok(isFilledWith(other, 0), "something was found");
      }),
    );
  return list.cases;
}

/** Compares functions on pages with what Node computes. */
function checkPageFunctions({ crc32: faster, checksumPages }: PageFunctions): void {
  const some = pseudoRandomBytes(3000);
  for (const [start, end] of [
    [0, 0],
    [0, 1],
    [3, 18],
    [0, 63],
    [1, 65],
    [16, 80],
    [7, 135],
    [5, 3000],
  ] as const) {
    const part = some.subarray(start, end);
    assert.equal(faster(part, 77), crc32(part, 77), `the checksum of the bytes ${start} to ${end}`);
  }
  const page = 4096;
  const pages = 203;
  // In shared memory, as RAM and bitmaps are, and not at the start of it.
  const bytes = new Uint8Array(new SharedArrayBuffer((pages + 1) * page), page);
  bytes.set(pseudoRandomBytes(bytes.length));
  const zero = [0, 5, 6, 150, 202];
  for (const each of zero) {
    bytes.fill(0, each * page, (each + 1) * page);
  }
  // One byte is enough.
  bytes.fill(0, 7 * page, 8 * page);
  bytes[8 * page - 1] = 1;
  const present = Array.from({ length: pages }, (_, index) => index).filter((index) => index % 3 !== 1);
  const bitmapOf = (those: readonly number[]): Uint8Array => {
    const bitmap = new Uint8Array(new SharedArrayBuffer(26));
    for (const each of those) {
      bitmap[each >> 3] = (bitmap[each >> 3] as number) | (1 << (each & 7));
    }
    return bitmap;
  };
  const sumOf = (those: readonly number[]): number =>
    crc32(Buffer.concat(those.flatMap((each) => [Buffer.of(each), bytes.slice(each * page, (each + 1) * page)])), 1234);
  const bitmap = bitmapOf(present);
  assert.equal(checksumPages(bytes, bitmap, 1234, false), sumOf(present), "the checksum of all pages");
  assert.deepEqual([...bitmap], [...bitmapOf(present)], "the bitmap, which was to stay as it is");
  const used = present.filter((each) => !zero.includes(each));
  assert.equal(checksumPages(bytes, bitmap, 1234, true), sumOf(used), "the checksum without zero pages");
  assert.deepEqual([...bitmap], [...bitmapOf(used)], "the bitmap, which was to lose zero pages");
  assert.equal(checksumPages(bytes, bitmapOf([]), 1234, true), 1234, "the checksum of no page");
}

/** Registers the suite of the `MemoryProvider` contract. */
export async function memoryProviderCompliance(fixture: MemoryProviderFixture): Promise<void> {
  // The cases themselves also run where there is no vitest: in the lab.
  const { registerCases } = await import("./register-cases.ts");
  registerCases(`memory provider ${fixture.name}`, await memoryProviderCases(fixture));
}

/** A provider with one object, and all that was opened of it. */
class Specimen {
  readonly provider: MemoryProvider;
  readonly options: MemoryObjectOptions;
  readonly #opened: MemoryBacking[] = [];

  constructor(provider: MemoryProvider, options: MemoryObjectOptions) {
    this.provider = provider;
    this.options = options;
  }

  async open(changes: Partial<MemoryObjectOptions> = {}, options: OpenMemoryOptions = {}): Promise<MemoryBacking> {
    const backing = await this.provider.open({ ...this.options, ...changes }, options);
    this.#opened.push(backing);
    return backing;
  }

  async closeAll(): Promise<void> {
    await Promise.all(this.#opened.map((backing) => backing.close()));
  }
}

/** Whether all bytes have a value; of a whole device's memory, too. */
function isFilledWith(bytes: Uint8Array, value: number): boolean {
  return Buffer.compare(bytes, Buffer.alloc(bytes.length, value)) === 0;
}

/** The part of some address space that an object is mapped over, and that part with a WebAssembly page on both sides of it. */
interface AddressSpace {
  readonly all: Uint8Array;
  readonly target: Uint8Array;
}

/** Address space as execution backends reserve it; the target begins where an object of that alignment may. */
function reserveAddressSpace(size: number, alignment: RamAlignment | undefined): AddressSpace {
  const multiple = alignment?.multiple ?? 1;
  const pages = Math.ceil((size + multiple) / wasmPage) + 2;
  const memory = new Uint8Array(new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }).buffer);
  const address = alignment?.addressOf(memory.subarray(wasmPage)) ?? 0n;
  const start = wasmPage + Number(-address & BigInt(multiple - 1));
  return {
    all: memory.subarray(start - wasmPage, start + size + wasmPage),
    target: memory.subarray(start, start + size),
  };
}
