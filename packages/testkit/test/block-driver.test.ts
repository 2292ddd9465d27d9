import { type BlockDevice, type BlockDeviceOptions, type BlockDriver, blockErrors } from "@cpr/core";
import { describe, expect, test } from "vitest";
import { type BlockDriverFixture, blockDriverCases, blockDriverCompliance } from "../src/block-driver.ts";
import { FakeBlockDevice } from "../src/fakes.ts";
import { failingCases } from "./failing-cases.ts";

/** What is at a path, and who has locked it. */
interface Disk {
  readonly contents: Uint8Array;
  readonly writers: Set<BlockDevice>;
  readonly readers: Set<BlockDevice>;
}
const disks = new Map<string, Disk>();
let count = 0;

const place: BlockDriverFixture["place"] = async (contents) => {
  const path = `memory:${count++}`;
  disks.set(path, { contents: contents.slice(), writers: new Set(), readers: new Set() });
  return { options: { path }, close: async () => void disks.delete(path) };
};

/** A disk in the memory of the test, as the contract wants it. */
class MemoryDisk extends FakeBlockDevice {
  override readonly driver = "memory";
  override readonly supports: BlockDevice["supports"];
  readonly #disk: Disk;

  constructor({ id, path, readOnly, discard, locking }: BlockDeviceOptions, disk: Disk) {
    super({ id, path, readOnly, contents: disk.contents });
    this.supports = { discard: discard === "unmap", locking };
    this.#disk = disk;
  }

  override async read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    if (this.closed) throw new TypeError("it is closed");
    await super.read(offset, buffers);
  }

  override async lock(): Promise<void> {
    const { writers, readers } = this.#disk;
    const others = [...writers, ...(this.readOnly ? [] : readers)].filter((each) => each !== this);
    if (!this.supports.locking) return;
    if (others.length > 0) throw blockErrors.ERR_CPR_BLOCK_LOCKED({ path: this.path, lock: '"write"' });
    (this.readOnly ? readers : writers).add(this);
  }

  override unlock(): void {
    this.#disk.writers.delete(this);
    this.#disk.readers.delete(this);
  }

  override async close(): Promise<void> {
    this.unlock();
    await super.close();
  }
}

const driverOf = (Device: typeof MemoryDisk): BlockDriver => ({
  name: "memory",
  supports: { discard: true, locking: true },
  async open(options) {
    const disk = disks.get(options.path);
    if (disk === undefined) throw blockErrors.ERR_CPR_BLOCK_OPEN({ path: options.path, reason: "it is not there" });
    return new Device(options, disk);
  },
});

blockDriverCompliance({ name: "in memory", create: () => driverOf(MemoryDisk), place });

const broken: Record<string, { readonly disk: typeof MemoryDisk; readonly noticedBy: string[] }> = {
  "writes one sector too early": {
    disk: class extends MemoryDisk {
      override write(offset: number, buffers: readonly Uint8Array[]) {
        return super.write(Math.max(offset - 512, 0), buffers);
      }
    },
    noticedBy: [
      "writes what it is given, and nothing beside it",
      "takes more buffers than a system call does",
      "carries out many requests at the same time, each as if it were alone",
    ],
  },
  "takes only so many buffers": {
    disk: class extends MemoryDisk {
      override async read(offset: number, buffers: readonly Uint8Array[]) {
        await super.read(offset, buffers.slice(0, 1024));
      }
    },
    noticedBy: ["takes more buffers than a system call does"],
  },
  "zeroes what follows too": {
    disk: class extends MemoryDisk {
      override async writeZeroes(offset: number, length: number, unmap: boolean) {
        await super.writeZeroes(offset, length > 0 ? Math.min(length + 512, this.size - offset) : 0, unmap);
      }
    },
    noticedBy: ["writes zeroes, and nothing beside them"],
  },
  "discards what is before": {
    disk: class extends MemoryDisk {
      override async discard(offset: number, length: number) {
        await super.discard(offset - 512, length);
      }
    },
    noticedBy: ["leaves all else alone when it discards"],
  },
  "writes to what is read-only": {
    disk: class extends MemoryDisk {
      override async write(offset: number, buffers: readonly Uint8Array[]) {
        this.contents.set(Buffer.concat(buffers), offset);
      }
    },
    noticedBy: ["writes nothing to a disk that is read-only"],
  },
  "locks nobody out": {
    disk: class extends MemoryDisk {
      override async lock() {}
    },
    noticedBy: ["has one writer, or any number of readers"],
  },
  "keeps its lock when it is closed": {
    disk: class extends MemoryDisk {
      override async close() {
        this.closed = true;
      }
    },
    noticedBy: ["has one writer, or any number of readers", "keeps nothing open"],
  },
};

describe("the suite of block drivers", () => {
  test.each(Object.entries(broken))("notices a disk that %s", async (_label, { disk, noticedBy }) => {
    expect(await failingCases(blockDriverCases({ name: "broken", create: () => driverOf(disk), place }))).toEqual(
      noticedBy,
    );
  });
});
