/**
 * The compliance suite of the `BlockDriver` contract.
 *
 * @example
 * ```ts
 * blockDriverCompliance({ name: "raw", create: () => new RawBlockDriver(), place: (contents) => imageWith(contents) });
 * ```
 *
 * @packageDocumentation
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import type { BlockDevice, BlockDeviceOptions, BlockDriver } from "@cpr/core";
import { CaseList, type ComplianceCase } from "./compliance-case.ts";
import { equalBytes, pseudoRandomBytes, rejectsWithCprError, within } from "./expectations.ts";
import { registerCases } from "./register-cases.ts";

/** A disk that a driver can open. */
export interface BlockDevicePlace {
  /** What differs from an image that may be written, without special wishes. */
  readonly options: Partial<BlockDeviceOptions> & Pick<BlockDeviceOptions, "path">;
  /** Removes it. */
  close(): Promise<void>;
}

/** A driver to be tested. */
export interface BlockDriverFixture {
  readonly name: string;
  /** Called for each case. */
  create(): BlockDriver;
  /** Makes a disk that holds these bytes. */
  place(contents: Uint8Array): Promise<BlockDevicePlace>;
}

/** Opens the disk of a case; with other options than the fixture's if given. */
type Open = (changes?: Partial<BlockDeviceOptions>) => Promise<BlockDevice>;

const diskSize = 1 << 20;
/** Whole blocks of every disk that there is. */
const block = 4096;

/** The cases for one driver, as data. */
export function blockDriverCases(fixture: BlockDriverFixture): readonly ComplianceCase[] {
  const contents = pseudoRandomBytes(diskSize);

  /** A case with a disk that holds {@link contents}. What it opens is closed when it ends. */
  const onDisk = (body: (open: Open, options: BlockDeviceOptions) => Promise<void>) => async () => {
    const place = await fixture.place(contents);
    const driver = fixture.create();
    const opened: BlockDevice[] = [];
    const options: BlockDeviceOptions = {
      id: "disk0",
      driver: driver.name,
      readOnly: false,
      cache: { direct: false, noFlush: false },
      discard: "unmap",
      locking: true,
      ...place.options,
    };
    try {
      await body(async (changes) => {
        const device = await within(driver.open({ ...options, ...changes }), "the opening of the disk");
        opened.push(device);
        return device;
      }, options);
    } finally {
      for (const device of opened) await device.close().catch(() => undefined);
      await place.close();
    }
  };
  const { supports } = fixture.create();

  return new CaseList()
    .add("has its name", () => {
      assert.match(fixture.create().name, /^[a-z][a-z0-9-]*$/);
    })
    .add(
      "says what the disk is",
      onDisk(async (open, options) => {
        const device = await open();
        assert.equal(device.id, options.id);
        assert.equal(device.driver, options.driver);
        assert.equal(device.path, options.path);
        assert.equal(device.size, diskSize);
        assert.equal(device.readOnly, false);
        assert.ok(device.logicalBlockSize >= 512 && Number.isInteger(Math.log2(device.logicalBlockSize)));
        assert.equal((await open({ readOnly: true })).readOnly, true);
        if (device.hostFile !== undefined) {
          assert.deepEqual(device.hostFile, { id: options.id, path: options.path });
        }
      }),
    )
    .add(
      "reads what is there, into buffers of any size, and nothing beside them",
      onDisk(async (open) => {
        const device = await open();
        await check(device, contents, "the whole disk");
        const ram = guestRam();
        ram.fill(0xa5);
        const parts = [ram.subarray(1, 8), ram.subarray(100, 100), ram.subarray(512, 4700), ram.subarray(9000, 12_997)];
        await device.read(3 * block, parts);
        equalBytes(Buffer.concat(parts), contents.subarray(3 * block, 5 * block), "two blocks in pieces");
        assert.ok([0, 8, 511, 4700, 8999, 12_997].every((at) => ram[at] === 0xa5));
      }),
    )
    .add(
      "writes what it is given, and nothing beside it",
      onDisk(async (open) => {
        const device = await open();
        const ram = guestRam();
        ram.set(pseudoRandomBytes(ram.length, 7));
        const parts = [ram.subarray(5, 17), ram.subarray(20_000, 24_000), ram.subarray(50_001, 54_181)];
        await device.write(7 * block, parts);
        const expected = contents.slice();
        expected.set(Buffer.concat(parts), 7 * block);
        await check(device, expected, "the disk after a write");
      }),
    )
    .add(
      "takes more buffers than a system call does",
      onDisk(async (open) => {
        const device = await open();
        const ram = guestRam();
        const pieces = Array.from({ length: 2 * block }, (_, index) => ram.subarray(3 * index, 3 * index + 1));
        await device.read(block, pieces);
        equalBytes(Buffer.concat(pieces), contents.subarray(block, 3 * block), "two blocks, byte by byte");
        pieces.reverse();
        const reversed = Buffer.concat(pieces);
        await device.write(block, pieces);
        const expected = contents.slice();
        expected.set(reversed, block);
        await check(device, expected, "the disk after two blocks were written byte by byte");
      }),
    )
    .add(
      "carries out many requests at the same time, each as if it were alone",
      onDisk(async (open) => {
        const device = await open();
        const ram = guestRam();
        const half = diskSize / 2;
        const written = pseudoRandomBytes(half, 99);
        ram.set(written, half);
        const work: Promise<void>[] = [];
        for (let at = 0; at < half; at += block) {
          work.push(device.read(at, [ram.subarray(at, at + block)]));
          work.push(device.write(half + at, [ram.subarray(half + at, half + at + block)]));
          if (at % (16 * block) === 0) work.push(device.flush());
        }
        await within(Promise.all(work), "the end of all requests");
        equalBytes(ram.subarray(0, half), contents.subarray(0, half), "what was read");
        const expected = contents.slice();
        expected.set(written, half);
        await check(device, expected, "the disk");
      }),
    )
    .add(
      "shows another opening what was written and flushed",
      onDisk(async (open) => {
        const device = await open();
        const written = pseudoRandomBytes(block, 3);
        await device.write(0, [written]);
        await device.flush();
        const expected = contents.slice();
        expected.set(written);
        await check(await open({ readOnly: true }), expected, "another opening");
      }),
    )
    .add(
      "writes zeroes, and nothing beside them",
      onDisk(async (open) => {
        for (const discard of ["unmap", "ignore"] as const) {
          const device = await open({ discard });
          const expected = Buffer.from(contents);
          await device.write(0, [contents]);
          await device.writeZeroes(4 * block, 0, true);
          for (const [at, length, unmap] of [
            [block, block, false],
            [5 * block, 3 * block, true],
            [diskSize - block, block, true],
            [diskSize / 2, diskSize / 4, false],
          ] as const) {
            await device.writeZeroes(at, length, unmap);
            expected.fill(0, at, at + length);
          }
          await check(device, expected, `the disk with discard=${discard}`);
        }
      }),
    )
    .add(
      "leaves all else alone when it discards",
      onDisk(async (open) => {
        for (const discard of ["unmap", "ignore"] as const) {
          const device = await open({ discard });
          assert.equal(device.supports.discard, discard === "unmap" && supports.discard);
          await device.write(0, [contents]);
          await device.discard(3 * block, 2 * block);
          const actual = await readAll(device);
          actual.copyWithin(3 * block, 0, 2 * block);
          const expected = contents.slice();
          expected.copyWithin(3 * block, 0, 2 * block);
          equalBytes(actual, expected, `what was not discarded with discard=${discard}`);
        }
      }),
    )
    .add(
      "takes the end of the disk for its end",
      onDisk(async (open) => {
        const device = await open();
        const buffer = new Uint8Array(2 * block);
        for (const [what, request] of [
          ["a read", () => device.read(diskSize - block, [buffer])],
          ["a write", () => device.write(diskSize, [buffer])],
          ["a discard", () => device.discard(diskSize - block, 2 * block)],
          ["zeroes", () => device.writeZeroes(2 ** 52, block, false)],
          ["half a sector", () => device.read(0, [buffer.subarray(0, 256)])],
          ["a read between sectors", () => device.read(256, [buffer])],
          ["a read before the start", () => device.read(-block, [buffer])],
        ] as const) {
          await assert.rejects(request(), RangeError, what);
        }
        await check(device, contents, "the disk");
      }),
    )
    .add(
      "writes nothing to a disk that is read-only",
      onDisk(async (open) => {
        const device = await open({ readOnly: true });
        const rejected = { code: "EROFS" };
        await assert.rejects(device.write(0, [new Uint8Array(block)]), rejected);
        await assert.rejects(device.discard(0, block), rejected);
        await assert.rejects(device.writeZeroes(0, block, false), rejected);
        await device.flush();
        await check(device, contents, "the disk");
      }),
    )
    .addIf(
      supports.locking,
      "has one writer, or any number of readers",
      onDisk(async (open) => {
        const writer = await open();
        const other = await open();
        const readers = [await open({ readOnly: true }), await open({ readOnly: true })] as const;
        await writer.lock();
        await writer.lock();
        for (const device of [other, ...readers]) {
          const { details } = await rejectsWithCprError(device.lock(), "ERR_CPR_BLOCK_LOCKED");
          assert.equal(details.path, writer.path);
        }
        writer.unlock();
        await other.lock();
        await rejectsWithCprError(writer.lock(), "ERR_CPR_BLOCK_LOCKED");
        await other.close();
        await Promise.all(readers.map((reader) => reader.lock()));
        await rejectsWithCprError(writer.lock(), "ERR_CPR_BLOCK_LOCKED");
        for (const reader of readers) reader.unlock();
        await writer.lock();
        writer.unlock();
        writer.unlock();
      }),
    )
    .addIf(
      supports.locking,
      "is not locked if it is told not to be",
      onDisk(async (open) => {
        const device = await open({ locking: false });
        assert.equal(device.supports.locking, false);
        await device.lock();
        await (await open()).lock();
      }),
    )
    .add(
      "says what is wrong with a disk that is not there",
      onDisk(async (open) => {
        await rejectsWithCprError(open({ path: "/no/such/disk" }), "ERR_CPR_BLOCK_OPEN");
      }),
    )
    .add(
      "keeps nothing open",
      onDisk(async (open, { path }) => {
        // The first time something may be loaded that stays.
        await (await open()).close();
        const before = readdirSync("/proc/self/fd").length;
        const device = await open();
        await device.lock();
        await device.close();
        await rejectsWithCprError(open({ path: `${path}.other` }));
        assert.equal(readdirSync("/proc/self/fd").length, before);
        await assert.rejects(device.read(0, [new Uint8Array(block)]));
        await (await open()).lock();
      }),
    ).cases;
}

/** Registers the suite of the `BlockDriver` contract. */
export function blockDriverCompliance(fixture: BlockDriverFixture): void {
  registerCases(`block driver ${fixture.name}`, blockDriverCases(fixture));
}

/** Memory as backends have it for guest RAM: shared, and not at the start of its buffer. */
function guestRam(): Uint8Array {
  return new Uint8Array(new SharedArrayBuffer(diskSize + block), block);
}

async function readAll(device: BlockDevice): Promise<Uint8Array> {
  const ram = guestRam();
  await within(device.read(0, [ram]), "the end of a read");
  return ram;
}

async function check(device: BlockDevice, expected: Uint8Array, what: string): Promise<void> {
  equalBytes(await readAll(device), expected, what);
}
