import { setImmediate as turn } from "node:timers/promises";
import { GuestMemory, layOutRam } from "@cpr/core";
import { RecordingNetworkLink } from "@cpr/testkit/fakes";
import { expect, it } from "vitest";
import { VirtioNetwork } from "../src/virtio-net/virtio-network.ts";
import { queuePair } from "./virtio-driver.ts";

const ramSize = 1 << 18;
const queueSize = 8;
const flag = { next: 1, write: 2, indirect: 4 } as const;
const runs = 300;

/** A repeatable source of numbers below a limit. */
function numbers(seed: number): (limit: number) => number {
  let state = seed * 2_654_435_761 + 1;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

it(`survives ${runs} drivers that write anything, keeps no chain, and goes on after a reset`, async () => {
  let troubled = 0;
  let carried = 0;
  for (let seed = 1; seed <= runs; seed += 1) {
    const next = numbers(seed);
    const memory = new GuestMemory(new Uint8Array(ramSize), layOutRam(ramSize));
    const link = new RecordingNetworkLink({ offloads: next(2) === 0 });
    link.room = next(3) === 0 ? next(4) : Number.POSITIVE_INFINITY;
    let troubles = 0;
    const device = new VirtioNetwork(
      { id: "net0", link, mac: new Uint8Array(6), mtu: undefined },
      { configurationChanged: () => undefined, needsReset: () => void troubles++ },
    );
    const pairs = [0x1000, 0x2000, 0x3000].map((base) => queuePair(memory, base, queueSize));
    for (const { queue, driver } of pairs) {
      driver.setUp(queue);
      queue.indirect = next(2) === 0;
      queue.eventIndex = next(2) === 0;
    }
    const driver = { features: next(2) === 0 ? 0n : device.features, queues: pairs.map(({ queue }) => queue) };
    device.start(driver);
    for (let step = 0; step < 60; step += 1) {
      const index = next(3);
      const { driver: side } = pairs[index] as (typeof pairs)[0];
      const decent = next(4) !== 0;
      for (let descriptor = 0; descriptor < queueSize; descriptor += 1) {
        const address = decent ? 0x8000 + next(0x30_000) : next(2 ** 32);
        side.writeDescriptor(descriptor, {
          address: BigInt(address),
          length: decent ? next(2000) : next(2 ** 32),
          flags: decent ? (index === 0 ? flag.write : 0) : next(8),
          next: next(queueSize + 1),
        });
      }
      side.makeAvailable(next(decent ? queueSize : 2 * queueSize));
      device.notify(index);
      await turn();
      link.deliver(new Uint8Array(next(3000)).fill(next(256)));
      if (next(4) === 0) link.card?.sendable();
      // The rings cannot be full of what was never given back.
      for (const { queue } of pairs) expect(queue.inFlight).toBeGreaterThanOrEqual(0);
      if (troubles > 0) break;
    }
    carried += link.sent.length + (pairs[0]?.driver.takeUsed().length ?? 0);
    if (troubles > 0) troubled += 1;
    else for (const { queue, told } of pairs) expect(told.failures.length > 0 ? 0 : queue.inFlight).toBe(0);
    await device.pause();
    device.reset();
    device.resume();
    // A decent driver gets a frame through afterwards.
    link.room = Number.POSITIVE_INFINITY;
    const fresh = queuePair(memory, 0x4000, queueSize);
    fresh.driver.setUp(fresh.queue);
    device.start({ features: 0n, queues: [fresh.queue, fresh.queue, fresh.queue] });
    const before = link.sent.length;
    fresh.driver.offer({ readable: [new Uint8Array(12 + 60)] });
    device.notify(1);
    await turn();
    expect(link.sent.length).toBe(before + 1);
  }
  // The drivers do both: break rules, and have frames carried.
  expect(troubled).toBeGreaterThan(10);
  expect(carried).toBeGreaterThan(runs);
});
