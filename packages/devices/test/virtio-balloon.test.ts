import { GuestMemory, layOutRam } from "@cpr/core";
import { deviceCompliance } from "@cpr/testkit/device";
import { FakeDeviceContext } from "@cpr/testkit/fakes";
import { describe, expect, it } from "vitest";
import { VirtioBalloonPciModel } from "../src/index.ts";
import { VirtioBalloon } from "../src/virtio-balloon/virtio-balloon.ts";
import { HostileDriver, numbers } from "./hostile-driver.ts";
import { DriverQueue, queuePair } from "./virtio-driver.ts";
import { VirtioPciDriver } from "./virtio-pci-driver.ts";
import { contextFor, makeHost } from "./virtio-pci-echo.ts";

const features = { deflateOnOutOfMemory: 1n << 2n, reporting: 1n << 5n } as const;

const make = (context: FakeDeviceContext, properties: Readonly<Record<string, unknown>> = {}) =>
  new VirtioBalloonPciModel().create(contextFor(context, context.id, { bus: makeHost(context).host, ...properties }));

/** Numbers of pages as a driver tells them. */
const pageNumbers = (...pages: readonly number[]): Uint8Array => new Uint8Array(Uint32Array.from(pages).buffer);

function begin(properties: Readonly<Record<string, unknown>> = {}) {
  const context = new FakeDeviceContext();
  const reclaimed: (readonly [offset: number, length: number])[] = [];
  context.memory.reclaim = (offset, length) => reclaimed.push([offset, length]);
  const device = make(context, properties);
  const driver = new VirtioPciDriver(context.bus, 1);
  driver.negotiate(driver.offered & (features.reporting | features.deflateOnOutOfMemory));
  const queues = [0, 1, 2].map((index) => new DriverQueue(context.memory, 0x4000 + 0x2000 * index, 16));
  for (const [index, queue] of queues.entries()) driver.setUpQueue(index, queue);
  driver.ready();
  const request = (index: number, parts: Parameters<DriverQueue["offer"]>[0]): void => {
    queues[index]?.offer(parts);
    driver.notify(index);
  };
  return { context, device, driver, queues, request, reclaimed };
}

deviceCompliance({
  name: "virtio-balloon-pci",
  create: (context) => make(context, { "free-page-reporting": "on" }),
  // The target and what the driver has answered: the former stays.
  batteryBacked: ["device"],
  disturb: (device, context) => {
    device.balloon?.setTarget(512 << 10);
    const driver = new VirtioPciDriver(context.bus, 1);
    driver.negotiate(features.reporting);
    const queue = new DriverQueue(context.memory, 0x4000, 8);
    driver.setUpQueue(0, queue);
    driver.ready();
    queue.offer({ readable: [pageNumbers(64, 65)] });
    driver.notify(0);
    driver.write(4, 4, 4, 2);
  },
});

describe("virtio-balloon-pci", () => {
  it("offers what it was told to", () => {
    const offered = (properties: Readonly<Record<string, unknown>>) => begin(properties).driver.offered & 0xffn;
    expect(offered({})).toBe(0n);
    expect(offered({ "free-page-reporting": "on" })).toBe(features.reporting);
    expect(offered({ "deflate-on-oom": "on", "free-page-reporting": "off" })).toBe(features.deflateOnOutOfMemory);
    expect(begin().driver.configuration(0, 4)).toBe(0x1045_1af4);
    expect(() => begin({ "deflate-on-oom": "perhaps" })).toThrow("deflate-on-oom");
  });

  it("asks for pages, and tells how many were given up", () => {
    const { device, driver } = begin();
    const { balloon } = device;
    const told: number[] = [];
    if (balloon !== undefined) balloon.onChange = (actual) => told.push(actual);
    expect(balloon?.actual).toBe(1 << 20);
    driver.status = 0;
    balloon?.setTarget(256 << 10);
    // What was asked for before the driver came is there for it.
    driver.negotiate(0n);
    expect(driver.read(4, 0, 4)).toBe(192);
    driver.write(4, 4, 4, 100);
    driver.write(4, 4, 4, 100);
    driver.write(4, 0, 4, 7);
    expect(driver.read(4, 0, 4)).toBe(192);
    driver.write(4, 4, 4, 192);
    expect(told).toEqual([(1 << 20) - 100 * 4096, 256 << 10]);
    expect(balloon?.actual).toBe(256 << 10);
    balloon?.setTarget(2 ** 40);
    expect(driver.read(4, 0, 4)).toBe(0);
  });

  it("gives pages back to the host, those that lie together at once, each only if it was told", () => {
    const { request, queues, reclaimed } = begin();
    request(0, { readable: [pageNumbers(70, 66, 64), pageNumbers(65, 64, 64, 80)] });
    expect(reclaimed).toEqual([
      [64 * 4096, 3 * 4096],
      [70 * 4096, 4096],
      [80 * 4096, 4096],
    ]);
    request(1, { readable: [pageNumbers(64)] });
    expect(reclaimed).toHaveLength(3);
    expect(queues.map((queue) => queue.takeUsed().length)).toEqual([1, 1, 0]);
  });

  it("leaves alone what is no RAM, and what is no page", () => {
    const { request, reclaimed } = begin();
    request(0, { readable: [pageNumbers(255, 256, 257, 0xffff_ffff), Uint8Array.of(1, 2, 3)] });
    expect(reclaimed).toEqual([[255 * 4096, 4096]]);
    request(0, {});
    request(0, { writable: [4096] });
    expect(reclaimed).toHaveLength(1);
  });

  it("takes free pages that are reported, whole ones only", () => {
    const { context, driver, queues, reclaimed } = begin({ "free-page-reporting": "on" });
    const [, , reporting] = queues as [DriverQueue, DriverQueue, DriverQueue];
    const write = 2;
    const report = (address: number, length: number): void => {
      reporting.writeDescriptor(0, { address: BigInt(address), length, flags: write, next: 0 });
      reporting.makeAvailable(0);
      driver.notify(2);
    };
    const before = context.memory.bytes.slice();
    report(0x8_0000, 0x2_0000);
    report(0x8_0800, 0x2000);
    report(0x8_0800, 0x1000);
    expect(reclaimed).toEqual([
      [0x8_0000, 0x2_0000],
      [0x8_1000, 0x1000],
    ]);
    expect(reporting.takeUsed()).toHaveLength(3);
    expect(context.memory.bytes.subarray(0x8_0000)).toEqual(before.subarray(0x8_0000));
  });

  it("does not take a state that asks for more pages than there are", () => {
    const { device } = begin();
    const { checkpoint } = device;
    if (checkpoint.kind !== "state") throw new TypeError("it has a state");
    const state = { ...checkpoint.save(), device: { target: 257, actual: 0 } };
    expect(() => checkpoint.restore(state)).toThrow(expect.objectContaining({ code: "ERR_CPR_DEVICE_STATE" }));
    checkpoint.restore({ ...state, device: { target: 256, actual: 10 } });
    expect(device.balloon?.actual).toBe((1 << 20) - 10 * 4096);
  });

  it("survives drivers that write anything, and gives back no more than whole pages of RAM", () => {
    let failed = 0;
    let pages = 0;
    for (let seed = 1; seed <= 300; seed++) {
      const next = numbers(seed);
      const memory = new GuestMemory(new Uint8Array(1 << 17), layOutRam(1 << 17));
      memory.reclaim = (offset, length) => {
        expect([offset % 4096, length % 4096, length > 0, offset + length <= memory.size]).toEqual([0, 0, true, true]);
        pages += length / 4096;
      };
      const device = new VirtioBalloon(
        { id: "device0", memory, reporting: true, deflateOnOutOfMemory: false },
        { configurationChanged: () => undefined, needsReset: () => undefined },
      );
      const pairs = device.queueSizes.map((_, index) => queuePair(memory, 0x1000 + 0x1000 * index, 16));
      for (const { queue, driver } of pairs) driver.setUp(queue);
      const drivers = pairs.map(({ driver }) => driver);
      const hostile = new HostileDriver(memory, drivers, 0x1_0000, next);
      device.start({ features: device.features, queues: pairs.map(({ queue }) => queue) });
      for (let round = 0; round < 20; round++) device.notify(hostile.offer());
      failed += pairs.some(({ told }) => told.failures.length > 0) ? 1 : 0;
      expect(pairs.map(({ queue }) => queue.inFlight)).toEqual([0, 0, 0]);
      expect(hostile.wrong(), `seed ${seed}: a byte that the device must not write`).toBe(-1);
    }
    expect(pages).toBeGreaterThan(100);
    expect(failed).toBeGreaterThan(30);
    expect(failed).toBeLessThan(300);
  });
});
