import { GuestMemory, layOutRam } from "@cpr/core";
import { RecordingCharacterDevice } from "@cpr/testkit/fakes";
import { expect, it } from "vitest";
import { VirtioSerial } from "../src/virtio-serial/virtio-serial.ts";
import { HostileDriver, numbers } from "./hostile-driver.ts";
import { queuePair } from "./virtio-driver.ts";

const ramSize = 1 << 17;
const buffersAt = 0x1_0000;
const runs = 300;

it(`survives ${runs} drivers that write anything, and writes only where it may`, async () => {
  let failed = 0;
  let received = 0;
  let sent = 0;
  for (let seed = 1; seed <= runs; seed++) {
    const next = numbers(seed);
    const memory = new GuestMemory(new Uint8Array(ramSize), layOutRam(ramSize));
    const device = new VirtioSerial("device0", 3);
    const hosts = [0, 1, 2].map((number) => {
      const host = new RecordingCharacterDevice();
      device.plug({ id: `port${number}`, wanted: number, console: number === 0, name: "x".repeat(number), host });
      return host;
    });
    const pairs = device.queueSizes.map((_, index) => queuePair(memory, 0x1000 + 0x1000 * index, 16));
    for (const { queue, driver } of pairs) driver.setUp(queue);
    const drivers = pairs.map(({ driver }) => driver);
    const hostile = new HostileDriver(memory, drivers, buffersAt, next);
    device.start({ features: next(4) === 0 ? 0n : device.features, queues: pairs.map(({ queue }) => queue) });
    device.resume();
    for (let round = 0; round < 60; round++) {
      const host = hosts[next(3)] as RecordingCharacterDevice;
      switch (next(8)) {
        case 0:
          host.type(new Uint8Array(next(100)).fill(7));
          break;
        case 1:
          host.setOpened(next(2) === 0);
          break;
        case 2:
          host.setWritable(next(2) === 0);
          break;
        case 3:
          await device.pause();
          device.resume();
          break;
        default:
          device.notify(hostile.offer());
      }
    }
    received += hosts.reduce((sum, { waiting }) => sum + waiting, 0);
    sent += hosts.reduce((sum, { output }) => sum + output.length, 0);
    failed += pairs.some(({ told }) => told.failures.length > 0) ? 1 : 0;
    expect(
      pairs.map(({ queue }) => queue.inFlight),
      `seed ${seed}`,
    ).toEqual(pairs.map(() => 0));
    expect(hostile.wrong(), `seed ${seed}: a byte that the device must not write`).toBe(-1);
    const { checkpoint } = device;
    if (checkpoint.kind === "state") checkpoint.restore(checkpoint.save());
    device.reset();
  }
  // The drivers are neither all refused nor all served.
  expect(received).toBeGreaterThan(runs);
  expect(sent).toBeGreaterThan(runs);
  expect(failed).toBeGreaterThan(runs / 10);
  expect(failed).toBeLessThan(runs);
});
