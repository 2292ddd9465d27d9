import { FakeDeviceContext } from "@cpr/testkit/fakes";
import { expect, it } from "vitest";
import { DriverQueue } from "./virtio-driver.ts";
import { VirtioPciDriver } from "./virtio-pci-driver.ts";
import { makeEcho } from "./virtio-pci-echo.ts";

/** Numbers that are the same in each run (Numerical Recipes' linear congruential generator). */
function randomNumbers(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

const sizes = [1, 2, 4] as const;
/** Values that drivers write, more often than others. */
const likely = [0, 1, 2, 3, 4, 7, 8, 11, 15, 64, 0x80, 0xff, 0x4000, 0x8000, 0xc000, 0xffff, 0xffff_ffff];

it("a virtio device on PCI survives drivers that write anything, and each state that they reach can be restored", () => {
  let restored = 0;
  let started = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const random = randomNumbers(seed);
    const context = new FakeDeviceContext();
    const { device, echo } = makeEcho(context);
    const driver = new VirtioPciDriver(context.bus, 1);
    const places = [...driver.structures.values()].map(({ address }) => address);
    const { table, pending } = driver.messageRange();
    if (random(4) > 0) {
      driver.negotiate(0n);
      driver.setUpQueue(0, new DriverQueue(context.memory, 0x4000, 8), random(4));
      driver.ready();
    }
    for (let step = 0; step < 400; step++) {
      const size = sizes[random(3)] ?? 1;
      const value = (random(2) === 0 ? (likely[random(likely.length)] ?? 0) : random(2 ** 32)) % 2 ** (8 * size);
      switch (random(8)) {
        case 0:
          driver.configure(random(64) * 4 + random(5 - size), size, value);
          break;
        case 1:
          context.bus.mmio.write((random(2) === 0 ? table : pending) + random(20) * 4, size, value);
          break;
        case 2:
          context.memory.bytes[0x4000 + random(512)] = random(256);
          break;
        case 3:
          driver.notify(random(3));
          break;
        default: {
          const address = (places[random(places.length)] ?? 0) + random(0x40);
          if (random(2) === 0) context.bus.mmio.read(address, size);
          else context.bus.mmio.write(address, size, value);
        }
      }
      if (step % 100 !== 99 || device.checkpoint.kind !== "state") continue;
      if (echo.driver !== undefined) started += 1;
      const state = structuredClone(device.checkpoint.save());
      const copyContext = new FakeDeviceContext();
      copyContext.memory.bytes.set(context.memory.bytes);
      const copy = makeEcho(copyContext).device;
      if (copy.checkpoint.kind !== "state") continue;
      copy.checkpoint.restore(state);
      expect(copy.checkpoint.save()).toEqual(state);
      expect(copyContext.levels()).toEqual(context.levels());
      restored += 1;
    }
    device.reset();
    expect(driver.negotiate(0n)).toBe(true);
    const queue = new DriverQueue(context.memory, 0x8000, 8);
    driver.setUpQueue(0, queue, 0xffff);
    driver.ready();
    queue.offer({ readable: [Buffer.from("x")], writable: [4] });
    driver.notify(0);
    expect(queue.takeUsed()).toHaveLength(1);
  }
  expect(restored).toBe(240);
  // Not all of them were merely stuck.
  expect(started).toBeGreaterThan(40);
});
