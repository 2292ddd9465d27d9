import { setImmediate as turn } from "node:timers/promises";
import { GuestMemory, layOutRam } from "@cpr/core";
import { FakeBlockDevice } from "@cpr/testkit/fakes";
import { expect, it } from "vitest";
import { VirtioBlock } from "../src/virtio-blk/virtio-block.ts";
import { numbers } from "./hostile-driver.ts";
import { queuePair } from "./virtio-driver.ts";

const ramSize = 1 << 18;
const ringsAt = 0x1000;
const queueSize = 16;
/** Where indirect tables and buffers of these drivers are. */
const tablesAt = 0x4000;
const buffersAt = 0x8000;
const flag = { next: 1, write: 2, indirect: 4 } as const;

const runs = 400;

it(`survives ${runs} drivers that write anything, and neither loses a request nor writes where it may not`, async () => {
  let answered = 0;
  let failed = 0;
  for (let seed = 1; seed <= runs; seed++) {
    const next = numbers(seed);
    const memory = new GuestMemory(new Uint8Array(ramSize), layOutRam(ramSize));
    const disk = new FakeBlockDevice({ size: 64 * 512, readOnly: next(8) === 0 });
    disk.held = next(2) === 0;
    const troubles: string[] = [];
    const device = new VirtioBlock(
      { id: "device0", disk, serial: "", writeCache: next(2) === 0 },
      { configurationChanged: () => undefined, needsReset: (reason) => troubles.push(reason) },
    );
    const { queue, driver, told } = queuePair(memory, ringsAt, queueSize);
    driver.setUp(queue);
    queue.indirect = next(4) !== 0;
    device.start({ features: next(2) === 0 ? 0n : device.features, queues: [queue] });

    /** Which bytes of RAM the device may write. */
    const writable = new Uint8Array(ramSize);
    writable.fill(1, driver.usedRing, driver.usedRing + 6 + 8 * queueSize);
    const table = memory.view(0, ramSize);
    /** Half of the drivers keep to the form of a request, with any contents: the others write anything. */
    const decent = seed % 2 === 0;
    const writeDecent = (index: number): void => {
      const part = index % 3;
      const write = part === 2 || (part === 1 && next(2) === 0);
      const address = buffersAt + 16 * next((ramSize - buffersAt) / 16 - 64);
      const length = part === 0 ? 16 : part === 2 ? 1 : ([16, 512, 1024, 20][next(4)] ?? 0);
      const flags = (write ? flag.write : 0) | (part === 2 ? 0 : flag.next);
      driver.writeDescriptor(index, { address: BigInt(address), length, flags, next: index + 1 });
      if (write) writable.fill(1, address, address + length);
    };
    const writeDescriptor = (at: number, entries: number, mayBeIndirect: boolean): void => {
      const kind = next(40);
      const address = kind === 0 ? next(2 ** 31) : buffersAt + 16 * next((ramSize - buffersAt) / 16);
      const length = kind === 1 ? next(2 ** 32) : [1, 8, 16, 512, 513, 528, 1024, 0][next(8)];
      const flags = next(3) | (next(2) === 0 ? flag.write : 0);
      const indirect = mayBeIndirect && next(4) === 0;
      table.setBigUint64(at, BigInt(indirect ? tablesAt + 256 * next(8) : address), true);
      table.setUint32(at + 8, indirect ? 16 * (1 + next(8)) : (length ?? 0), true);
      table.setUint16(at + 12, indirect ? flag.indirect : flags, true);
      table.setUint16(at + 14, next(12) === 0 ? next(2 ** 16) : next(entries), true);
      if (!indirect && (flags & flag.write) !== 0) writable.fill(1, address, address + (length ?? 0));
    };
    for (let index = 0; index < queueSize; index++) {
      if (decent) writeDecent(index);
      else writeDescriptor(driver.descriptorTable + 16 * index, queueSize, true);
    }
    for (let at = tablesAt; at < tablesAt + 8 * 256; at += 16) writeDescriptor(at, 8, false);
    for (let at = buffersAt; at < ramSize; at += 16) {
      // Every place may be a header.
      table.setUint32(at, [0, 1, 4, 8, 11, 13, next(256)][next(7)] ?? 0, true);
      table.setUint32(at + 8, next(70), true);
      table.setUint32(at + 12, next(20) === 0 ? next(2 ** 32) : 0, true);
    }
    const before = memory.bytes.slice();

    for (let round = 0; round < 4; round++) {
      for (let count = next(queueSize); count > 0; count--) {
        driver.makeAvailable(decent ? 3 * next(5) : next(30) === 0 ? next(2 ** 16) : next(queueSize));
      }
      before.set(memory.bytes.subarray(driver.availableRing, driver.usedRing), driver.availableRing);
      device.notify();
      if (next(2) === 0) await turn();
    }
    const paused = device.pause();
    disk.release();
    await paused;

    answered += driver.takeUsed().length;
    failed += told.failures.length + troubles.length > 0 ? 1 : 0;
    expect(queue.inFlight, `seed ${seed}`).toBe(0);
    expect(disk.waiting).toBe(0);
    const wrong = memory.bytes.findIndex((byte, at) => byte !== before[at] && writable[at] === 0);
    expect(wrong, `seed ${seed}: a byte that the device must not write`).toBe(-1);
  }
  // The drivers are neither all refused nor all served.
  expect(answered).toBeGreaterThan(runs);
  expect(failed).toBeGreaterThan(runs / 4);
  expect(failed).toBeLessThanOrEqual(runs / 2);
});
