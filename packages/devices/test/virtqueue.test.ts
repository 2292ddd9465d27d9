import { FakeDeviceContext } from "@cpr/testkit/fakes";
import { describe, expect, it } from "vitest";
import { queuePair } from "./virtio-driver.ts";

const freshMemory = () => new FakeDeviceContext().memory;

function pair(size = 8) {
  const made = queuePair(freshMemory(), 0x1000, size);
  made.driver.setUp(made.queue);
  return made;
}

describe("a virtqueue", () => {
  it("hands out chains in their order and gives them back with what was written", () => {
    const { queue, driver, told } = pair();
    for (let round = 0; round < 20; round++) {
      const head = driver.offer({ readable: [Uint8Array.of(1, 2), Uint8Array.of(round)], writable: [3] });
      const chain = queue.pop();
      expect(chain?.readable.map((bytes) => [...bytes])).toEqual([[1, 2], [round]]);
      chain?.writable[0]?.fill(round);
      queue.push(chain as NonNullable<typeof chain>, 3);
      queue.tell();
      expect(driver.takeUsed()).toEqual([{ head, length: 3, written: [new Uint8Array(3).fill(round)] }]);
    }
    expect(queue.pop()).toBeUndefined();
    expect(queue.inFlight).toBe(0);
    expect(told).toEqual({ interrupts: 20, again: 0, failures: [] });
  });

  it("does not tell a driver that does not want to know", () => {
    const { queue, driver, told } = pair();
    driver.memory.view(driver.availableRing, 2).setUint16(0, 1, true);
    driver.offer({ writable: [1] });
    queue.process((chain) => queue.push(chain, 1));
    expect(driver.takeUsed()).toHaveLength(1);
    expect(told.interrupts).toBe(0);
  });

  it("tells once for all that are given back together, and by event index when that one is reached", () => {
    const { queue, driver, told } = pair();
    queue.eventIndex = true;
    const usedEvent = (index: number) =>
      driver.memory.view(driver.availableRing + 4 + 2 * driver.size, 2).setUint16(0, index, true);
    usedEvent(1);
    driver.offer({ writable: [1] });
    queue.process((chain) => queue.push(chain, 1));
    expect(told.interrupts).toBe(0);
    driver.offer({ writable: [1] });
    driver.offer({ writable: [1] });
    queue.process((chain) => queue.push(chain, 1));
    expect(told.interrupts).toBe(1);
    // The driver is asked to tell of the next one.
    expect(driver.memory.view(driver.usedRing + 4 + 8 * driver.size, 2).getUint16(0, true)).toBe(3);
  });

  it("is served in parts if it is filled as fast as it is emptied", () => {
    const { queue, driver, told } = pair();
    driver.offer({ writable: [1] });
    let handled = 0;
    queue.process((chain) => {
      handled += 1;
      queue.push(chain, 1);
      driver.offer({ writable: [1] });
    });
    expect(handled).toBe(driver.size);
    expect(told).toEqual({ interrupts: 1, again: 1, failures: [] });
    queue.process((chain) => queue.push(chain, 1));
    expect(told).toEqual({ interrupts: 2, again: 1, failures: [] });
  });

  it("goes on from a saved state", () => {
    const { queue, driver } = pair();
    driver.offer({ readable: [Uint8Array.of(7)] });
    queue.process((chain) => queue.push(chain, 0));
    const state = queue.save();
    const { queue: copy, told } = queuePair(driver.memory, 0x1000, 8);
    expect(copy.problemOf(state)).toBeUndefined();
    copy.restore(state);
    driver.offer({ readable: [Uint8Array.of(8)] });
    expect(copy.pop()?.readable[0]).toEqual(Uint8Array.of(8));
    expect(told.failures).toEqual([]);
    expect(copy.problemOf({ ...state, usedRing: 1n << 40n })).toMatch(/not in RAM/);
    expect(copy.problemOf({ ...state, size: 3 })).toMatch(/3 descriptors/);
  });
});

describe("a driver that breaks the rules", () => {
  const buffer = { address: 0x8000n, length: 16, flags: 0, next: 0 };
  const hostile: Record<string, { reason: RegExp; indirect?: boolean; do: (made: ReturnType<typeof pair>) => void }> = {
    "a head that is no descriptor": { reason: /descriptor 9 of 8/, do: ({ driver }) => driver.makeAvailable(9) },
    "a loop": {
      reason: /more than 8/,
      do: ({ driver }) => {
        driver.writeDescriptor(0, { ...buffer, flags: 1, next: 1 });
        driver.writeDescriptor(1, { ...buffer, flags: 1, next: 0 });
        driver.makeAvailable(0);
      },
    },
    "an address outside RAM": {
      reason: /outside RAM/,
      do: ({ driver }) => {
        driver.writeDescriptor(0, { ...buffer, address: 0xffff_ffff_ffff_fff0n });
        driver.makeAvailable(0);
      },
    },
    "a buffer that ends outside RAM": {
      reason: /outside RAM/,
      do: ({ driver }) => {
        driver.writeDescriptor(0, { ...buffer, address: BigInt((1 << 20) - 8) });
        driver.makeAvailable(0);
      },
    },
    "a readable buffer behind a writable one": {
      reason: /behind one to be written/,
      do: ({ driver }) => {
        driver.writeDescriptor(0, { ...buffer, flags: 3, next: 1 });
        driver.writeDescriptor(1, buffer);
        driver.makeAvailable(0);
      },
    },
    "an index that runs away": {
      reason: /ahead/,
      do: ({ driver }) => driver.memory.view(driver.availableRing, 4).setUint16(2, 9, true),
    },
    "an indirect table that was not agreed on": {
      reason: /indirect/,
      do: ({ driver }) => {
        driver.writeDescriptor(0, { ...buffer, flags: 4 });
        driver.makeAvailable(0);
      },
    },
    "an indirect table in an indirect table": {
      reason: /indirect/,
      indirect: true,
      do: ({ driver }) => {
        driver.memory.view(0x8000, 16).setUint16(12, 4, true);
        driver.writeDescriptor(0, { ...buffer, flags: 4 });
        driver.makeAvailable(0);
      },
    },
    "an indirect table of half a descriptor": {
      reason: /indirect/,
      indirect: true,
      do: ({ driver }) => {
        driver.writeDescriptor(0, { ...buffer, length: 8, flags: 4 });
        driver.makeAvailable(0);
      },
    },
  };

  it.each(Object.entries(hostile))("is stopped: %s", (_name, { reason, indirect = false, do: attack }) => {
    const made = pair();
    made.queue.indirect = indirect;
    attack(made);
    const handled: unknown[] = [];
    made.queue.process((chain) => handled.push(chain));
    expect(handled).toEqual([]);
    expect(made.told.failures).toHaveLength(1);
    expect(made.told.failures[0]).toMatch(reason);
    expect(made.queue.enabled).toBe(false);
  });

  it.each([
    ["descriptorTable", 0x1008n],
    ["availableRing", 1n],
    ["usedRing", 0x2002n],
    ["usedRing", 1n << 52n],
  ] as const)("is stopped: %s at %s", (part, address) => {
    const { queue, driver, told } = queuePair(freshMemory(), 0x1000, 8);
    queue.size = 8;
    queue.descriptorTable = BigInt(driver.descriptorTable);
    queue.availableRing = BigInt(driver.availableRing);
    queue.usedRing = BigInt(driver.usedRing);
    queue[part] = address;
    queue.enable();
    expect(told.failures).toHaveLength(1);
    expect(queue.pop()).toBeUndefined();
  });
});
