import { setImmediate as turn } from "node:timers/promises";
import { GuestMemory, layOutRam } from "@cpr/core";
import { deviceCompliance } from "@cpr/testkit/device";
import { FakeBlockDevice, type FakeBlockDeviceOptions, FakeDeviceContext } from "@cpr/testkit/fakes";
import { describe, expect, it } from "vitest";
import { VirtioBlockPciModel } from "../src/index.ts";
import { VirtioBlock, type VirtioBlockOptions } from "../src/virtio-blk/virtio-block.ts";
import { DriverQueue, type DriverRequest, queuePair } from "./virtio-driver.ts";
import { VirtioPciDriver } from "./virtio-pci-driver.ts";
import { contextFor, makeHost } from "./virtio-pci-echo.ts";

const type = { read: 0, write: 1, flush: 4, identify: 8, discard: 11, writeZeroes: 13 };
const status = { ok: 0, ioError: 1, unsupported: 2 };
const feature = { readOnly: 1n << 5n, flush: 1n << 9n, writeCache: 1n << 11n, discard: 1n << 13n, zeroes: 1n << 14n };
const writebackField = 32;

const make = (context: FakeDeviceContext, properties = {}) =>
  new VirtioBlockPciModel().create(
    contextFor(context, context.id, { bus: makeHost(context).host, drive: "disk0", ...properties }),
  );

deviceCompliance({
  name: "virtio-blk-pci",
  create: make,
  disturb: (_device, context) => {
    const driver = new VirtioPciDriver(context.bus, 1);
    driver.negotiate(feature.writeCache | feature.flush);
    driver.enableMessages(2);
    driver.setUpQueue(0, new DriverQueue(context.memory, 0x4000, 8), 1);
    driver.ready();
    driver.write(4, writebackField, 1, 0);
  },
});

function header(kind: number, sector = 0n): Uint8Array {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt32LE(kind);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, sector), 8);
  return bytes;
}

function segment(sector: bigint, sectors: number, flags = 0): Uint8Array {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64LE(sector);
  bytes.writeUInt32LE(sectors, 8);
  bytes.writeUInt32LE(flags, 12);
  return bytes;
}

const pattern = (length: number, seed: number): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => (index * 7 + (index >> 8) + seed) & 0xff);

interface Setup {
  readonly disk?: FakeBlockDeviceOptions;
  readonly features?: bigint;
  readonly options?: Partial<VirtioBlockOptions>;
}

/** A device with its driver's side. */
function setUp({ disk: diskOptions = {}, features, options = {} }: Setup = {}) {
  const memory = new GuestMemory(new Uint8Array(1 << 20), layOutRam(1 << 20));
  const disk = new FakeBlockDevice(diskOptions);
  if (diskOptions.contents === undefined) disk.contents.set(pattern(disk.size, 1));
  const troubles: string[] = [];
  const device = new VirtioBlock(
    { id: "device0", disk, serial: "a serial number", writeCache: true, ...options },
    { configurationChanged: () => undefined, needsReset: (reason) => troubles.push(reason) },
  );
  const { queue, driver, told } = queuePair(memory, 0x1000, 256);
  driver.setUp(queue);
  queue.indirect = true;
  device.start({ features: features ?? device.features, queues: [queue] });
  /** Makes one request and gives what came back: status, length, and all that was written. */
  const ask = async (request: DriverRequest) => {
    driver.offer(request);
    device.notify();
    await device.pause();
    const used = driver.takeUsed();
    expect(used).toHaveLength(1);
    const written = Buffer.concat(used[0]?.written ?? []);
    return { status: written.at(-1), length: used[0]?.length, answer: written.subarray(0, -1) };
  };
  return { memory, disk, device, queue, driver, told, troubles, ask };
}

describe("virtio-blk", () => {
  it("describes the disk, and offers what it can do", () => {
    const { device } = setUp({ disk: { size: 3 << 20, logicalBlockSize: 4096 } });
    const view = new DataView(device.configuration.buffer);
    expect(view.getBigUint64(0, true)).toBe(6144n);
    expect(view.getUint32(12, true)).toBe(254);
    expect(view.getUint32(20, true)).toBe(4096);
    expect(view.getUint8(writebackField)).toBe(1);
    expect([36, 40, 44, 48, 52].map((at) => view.getUint32(at, true))).toEqual([0x3ffff8, 1, 8, 0x3ffff8, 1]);
    expect(device.features & feature.readOnly).toBe(0n);
    const readOnly = setUp({ disk: { readOnly: true } }).device;
    expect(readOnly.features & (feature.readOnly | feature.discard | feature.zeroes)).toBe(feature.readOnly);
  });

  it("reads and writes, whatever the borders of the buffers are", async () => {
    const { disk, ask } = setUp();
    for (const writable of [[1024, 1], [1025], [1, 1000, 24], [0, 512, 512, 0, 1, 0]]) {
      const { status: read, length, answer } = await ask({ readable: [header(type.read, 3n)], writable });
      expect([read, length]).toEqual([status.ok, 1025]);
      expect([...answer]).toEqual([...disk.contents.subarray(1536, 2560)]);
    }
    const head = header(type.write, 9n);
    const data = pattern(1024, 99);
    for (const [index, readable] of [
      [head, data],
      [Buffer.concat([head, data])],
      [
        head.subarray(0, 3),
        head.subarray(3, 9),
        Buffer.concat([head.subarray(9), data.subarray(0, 500)]),
        data.subarray(500),
      ],
    ].entries()) {
      disk.contents.fill(index, 4096, 8192);
      expect(await ask({ readable, writable: [1] })).toMatchObject({ status: status.ok, length: 1 });
      expect([...disk.contents.subarray(9 * 512, 11 * 512)]).toEqual([...data]);
      expect([disk.contents[9 * 512 - 1], disk.contents[11 * 512]]).toEqual([index, index]);
    }
  });

  it("tells its serial number, in 20 bytes at most", async () => {
    const text = async (serial: string, room: number) =>
      (
        await setUp({ options: { serial } }).ask({ readable: [header(type.identify)], writable: [room, 1] })
      ).answer.toString();
    expect(await text("disk-1", 20)).toBe("disk-1".padEnd(20, "\0"));
    expect(await text("a number of more than twenty bytes", 30)).toBe("a number of more tha".padEnd(30, "\0"));
    expect(await text("disk-1", 4)).toBe("disk");
  });

  it("discards and zeroes ranges", async () => {
    const { disk, ask } = setUp();
    const clear = (kind: number, range: Uint8Array) => ask({ readable: [header(kind), range], writable: [1] });
    expect(await clear(type.discard, segment(8n, 8))).toMatchObject({ status: status.ok });
    expect(await clear(type.writeZeroes, segment(2n, 1))).toMatchObject({ status: status.ok });
    expect(await clear(type.writeZeroes, segment(4n, 2, 1))).toMatchObject({ status: status.ok });
    expect(disk.requests).toEqual([
      { operation: "discard", offset: 4096, length: 4096, unmap: true },
      { operation: "write-zeroes", offset: 1024, length: 512, unmap: false },
      { operation: "write-zeroes", offset: 2048, length: 1024, unmap: true },
    ]);
    for (const [kind, range, expected] of [
      [type.discard, segment(0n, 1, 1), status.unsupported],
      [type.writeZeroes, segment(0n, 1, 2), status.unsupported],
      [type.discard, Buffer.concat([segment(0n, 1), segment(1n, 1)]), status.unsupported],
      [type.discard, segment(0n, 1).subarray(0, 8), status.unsupported],
      [type.discard, segment(2047n, 2), status.ioError],
      [type.writeZeroes, segment(0n, 0x40_0000), status.ioError],
      [type.writeZeroes, segment(2n ** 64n - 1n, 1), status.ioError],
    ] as const) {
      expect(await clear(kind, range)).toMatchObject({ status: expected });
    }
    expect(disk.requests).toHaveLength(3);
  });

  it("refuses what is outside of the disk, no whole sectors, or unknown, and does not ask the disk", async () => {
    const { disk, ask, troubles } = setUp();
    for (const [request, expected] of [
      [{ readable: [header(type.read, 2048n)], writable: [512, 1] }, status.ioError],
      [{ readable: [header(type.read, 2047n)], writable: [1024, 1] }, status.ioError],
      [{ readable: [header(type.read, 2n ** 55n)], writable: [512, 1] }, status.ioError],
      [{ readable: [header(type.read, -1n)], writable: [512, 1] }, status.ioError],
      [{ readable: [header(type.read)], writable: [511, 1] }, status.ioError],
      [{ readable: [header(type.write, 2048n), pattern(512, 0)], writable: [1] }, status.ioError],
      [{ readable: [header(type.write, 0n), pattern(100, 0)], writable: [1] }, status.ioError],
      [{ readable: [header(2)], writable: [512, 1] }, status.unsupported],
      [{ readable: [header(0xffff_ffff)], writable: [1] }, status.unsupported],
    ] as const) {
      expect(await ask(request)).toMatchObject({ status: expected, length: 0 });
    }
    expect(disk.requests).toEqual([]);
    expect(troubles).toEqual([]);
  });

  it("refuses requests that are no blocks of the disk", async () => {
    const { disk, ask } = setUp({ disk: { logicalBlockSize: 4096 } });
    expect(await ask({ readable: [header(type.read, 8n)], writable: [512, 1] })).toMatchObject({
      status: status.ioError,
    });
    expect(await ask({ readable: [header(type.read, 4n)], writable: [4096, 1] })).toMatchObject({
      status: status.ioError,
    });
    expect(await ask({ readable: [header(type.read, 8n)], writable: [4096, 1] })).toMatchObject({ status: status.ok });
    expect(disk.requests).toHaveLength(1);
  });

  it("writes nothing to a disk that is read-only", async () => {
    const { disk, ask } = setUp({ disk: { readOnly: true } });
    for (const readable of [
      [header(type.write), pattern(512, 0)],
      [header(type.discard), segment(0n, 1)],
      [header(type.writeZeroes), segment(0n, 1)],
    ]) {
      expect(await ask({ readable, writable: [1] })).toMatchObject({ status: status.ioError });
    }
    expect(await ask({ readable: [header(type.read)], writable: [512, 1] })).toMatchObject({ status: status.ok });
    expect(disk.requests).toHaveLength(1);
  });

  it.each([
    ["not without a write cache that the driver flushes", {}, true],
    ["with the write cache that the user has switched off", { options: { writeCache: false } }, false],
    ["for a driver that does not flush", { features: 0n }, false],
  ])("makes a write durable at once: %s", async (_label, setup: Setup, cached) => {
    const { disk, ask } = setUp(setup);
    await ask({ readable: [header(type.write), pattern(512, 0)], writable: [1] });
    await ask({ readable: [header(type.writeZeroes), segment(0n, 1)], writable: [1] });
    const flush = cached ? [] : ["flush"];
    expect(disk.requests.map(({ operation }) => operation)).toEqual(["write", ...flush, "write-zeroes", ...flush]);
    await ask({ readable: [header(type.flush)], writable: [1] });
    expect(disk.requests.at(-1)?.operation).toBe("flush");
  });

  it("lets a driver that has agreed on it switch the write cache off and on, until it is reset", async () => {
    const { device, disk, ask } = setUp();
    const write = async () => {
      disk.requests.splice(0);
      await ask({ readable: [header(type.write), pattern(512, 0)], writable: [1] });
      return disk.requests.map(({ operation }) => operation);
    };
    device.writeConfiguration(writebackField, 1, 0);
    expect(await write()).toEqual(["write", "flush"]);
    device.writeConfiguration(writebackField, 1, 1);
    expect(await write()).toEqual(["write"]);
    device.writeConfiguration(0, 4, 7);
    device.writeConfiguration(writebackField, 1, 0);
    device.reset();
    expect([device.configuration[writebackField], device.configuration[0]]).toEqual([1, 0]);
    const other = setUp({ features: feature.flush }).device;
    other.writeConfiguration(writebackField, 1, 0);
    expect(other.configuration[writebackField]).toBe(1);
  });

  it("gives a request back as failed that the host cannot carry out, and goes on", async () => {
    const { disk, ask } = setUp();
    disk.failure = "EIO";
    for (const request of [
      { readable: [header(type.read)], writable: [512, 1] },
      { readable: [header(type.write), pattern(512, 0)], writable: [1] },
      { readable: [header(type.flush)], writable: [1] },
      { readable: [header(type.discard), segment(0n, 1)], writable: [1] },
    ]) {
      expect(await ask(request)).toMatchObject({ status: status.ioError });
    }
    disk.failure = undefined;
    expect(await ask({ readable: [header(type.read)], writable: [512, 1] })).toMatchObject({ status: status.ok });
  });

  it("carries out many requests at once, in the disk's order, and tells of those together that end together", async () => {
    const { disk, device, driver, told } = setUp();
    disk.held = true;
    const heads = Array.from({ length: 64 }, (_, index) =>
      driver.offer({ readable: [header(type.read, BigInt(index))], writable: [512, 1] }),
    );
    device.notify();
    await turn();
    expect(disk.waiting).toBe(64);
    expect(driver.takeUsed()).toEqual([]);
    disk.release(40);
    await turn();
    await turn();
    expect(driver.takeUsed().map(({ head }) => head)).toEqual([heads[40]]);
    expect(told.interrupts).toBe(1);
    disk.release();
    await turn();
    await turn();
    const used = driver.takeUsed();
    expect(told.interrupts).toBe(2);
    expect(used.map(({ head }) => head)).toEqual(heads.filter((_, index) => index !== 40));
    for (const { head, written } of used) {
      const sector = heads.indexOf(head);
      expect(written[0]).toEqual(disk.contents.slice(512 * sector, 512 * sector + 512));
    }
  });

  it("ends what is under way before it is paused, each request once, and goes on in another process with the rest", async () => {
    const { disk, device, driver, queue, memory, told } = setUp();
    disk.held = true;
    const write = (index: number) =>
      driver.offer({ readable: [header(type.write, BigInt(2 * index)), pattern(512, 100 + index)], writable: [1] });
    const heads = Array.from({ length: 40 }, (_, index) => write(index));
    device.notify();
    let paused = false;
    const pausing = device.pause().then(() => {
      paused = true;
    });
    // The driver goes on while the vCPUs have not stopped, and nobody is told of what it makes available.
    heads.push(...Array.from({ length: 20 }, (_, index) => write(40 + index)));
    while (disk.waiting > 1) {
      disk.release((disk.waiting * 7) % disk.waiting);
      await turn();
    }
    expect(paused).toBe(false);
    disk.release();
    await pausing;
    expect(queue.inFlight).toBe(0);
    expect(told.interrupts).toBeGreaterThan(0);
    const state = { queue: queue.save(), device: device.checkpoint.kind === "state" && device.checkpoint.save() };

    const next = setUp({ disk: { contents: disk.contents } });
    next.memory.bytes.set(memory.bytes);
    expect(next.queue.problemOf(state.queue)).toBeUndefined();
    next.queue.restore(state.queue);
    if (next.device.checkpoint.kind === "state") next.device.checkpoint.restore(state.device || {});
    next.device.notify();
    await next.device.pause();
    memory.bytes.set(next.memory.bytes);
    expect(
      driver
        .takeUsed()
        .map(({ head }) => head)
        .sort((a, b) => a - b),
    ).toEqual(heads.toSorted((a, b) => a - b));
    const written = [...disk.requests, ...next.disk.requests].map(({ offset }) => offset);
    expect(written.sort((a, b) => a - b)).toEqual(heads.map((_, index) => 1024 * index));
    for (const index of heads.keys()) {
      expect(next.disk.contents.slice(1024 * index, 1024 * index + 512)).toEqual(pattern(512, 100 + index));
    }
  });

  it.each([
    ["without a header", { readable: [header(type.read).subarray(1)], writable: [513] }],
    ["without anything to read", { writable: [513] }],
    ["without room for the status", { readable: [header(type.write), pattern(512, 0)] }],
    ["with an empty place for the status", { readable: [header(type.flush)], writable: [0] }],
  ])("needs a reset after a request %s", async (_label, request) => {
    const { disk, device, driver, queue, troubles } = setUp();
    driver.offer(request);
    device.notify();
    await device.pause();
    expect(troubles).toEqual(["a request without a header or without room for its status"]);
    expect(disk.requests).toEqual([]);
    expect(queue.inFlight).toBe(0);
  });

  it("does not take the state of another disk", () => {
    const state = (disk: FakeBlockDeviceOptions) => {
      const { checkpoint } = setUp({ disk }).device;
      return checkpoint.kind === "state" ? checkpoint.save() : {};
    };
    const { checkpoint } = setUp({ disk: { path: "/srv/disk.raw" } }).device;
    const restore = (saved: Readonly<Record<string, unknown>>) =>
      checkpoint.kind === "state" && checkpoint.restore(saved);
    restore(state({}));
    for (const [disk, difference] of [
      [{ size: 2 << 20 }, "had 4096 sectors and has 2048"],
      [{ logicalBlockSize: 4096 }, "had blocks of 4096 bytes, not 512"],
      [{ readOnly: true }, "was read-only"],
    ] as const) {
      expect(() => restore(state(disk))).toThrow(
        expect.objectContaining({ code: "ERR_CPR_DISK_DIFFERS", message: expect.stringContaining(`it ${difference}`) }),
      );
    }
  });

  it("names the image as a file that its state depends on, if it is one", () => {
    expect(setUp({ disk: { path: "/srv/disk.raw" } }).device.hostFiles).toEqual([
      { id: "disk0", path: "/srv/disk.raw" },
    ]);
    expect(setUp().device.hostFiles).toEqual([]);
  });

  it("is given on, off and a text as a user writes them", () => {
    const error = (properties: Record<string, unknown>) => () => make(new FakeDeviceContext(), properties);
    expect(() => make(new FakeDeviceContext(), { "write-cache": "off", serial: "1" })).not.toThrow();
    expect(error({ "write-cache": "maybe" })).toThrow("'write-cache'");
    expect(error({ drive: "" })).toThrow("'drive'");
  });
});
