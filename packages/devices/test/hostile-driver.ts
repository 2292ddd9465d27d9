import type { GuestMemory } from "@cpr/core";
import type { DriverQueue } from "./virtio-driver.ts";

const flag = { next: 1, write: 2, indirect: 4 } as const;
const descriptorSize = 16;

/** A repeatable source of numbers below a limit. */
export function numbers(seed: number): (limit: number) => number {
  let state = seed * 2_654_435_761 + 1;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

/**
 * A driver that writes anything into its queues: chains that end nowhere, loop, lie outside of RAM, or are as they should be. It knows
 * which bytes the device may write nevertheless.
 */
export class HostileDriver {
  readonly #memory: GuestMemory;
  readonly #queues: readonly DriverQueue[];
  readonly #next: (limit: number) => number;
  readonly #writable: Uint8Array;
  readonly #before: Uint8Array;

  /** @param buffersAt where buffers are, behind all queues */
  constructor(memory: GuestMemory, queues: readonly DriverQueue[], buffersAt: number, next: (limit: number) => number) {
    this.#memory = memory;
    this.#queues = queues;
    this.#next = next;
    this.#writable = new Uint8Array(memory.size);
    for (let at = buffersAt; at < memory.size; at += 4) memory.bytes[at] = next(6);
    for (const { usedRing, size } of queues) this.#writable.fill(1, usedRing, usedRing + 6 + 8 * size);
    for (const queue of queues) {
      for (let index = 0; index < queue.size; index++) {
        const kind = next(60);
        const address = kind === 0 ? next(2 ** 31) : buffersAt + 16 * next((memory.size - buffersAt) / 16 - 64);
        const length = kind === 1 ? next(2 ** 32) : ([0, 1, 4, 8, 8, 8, 60, 512][next(8)] ?? 0);
        const write = next(2) === 0;
        const flags = (next(5) === 0 ? flag.next : 0) | (write ? flag.write : 0) | (next(60) === 0 ? flag.indirect : 0);
        queue.writeDescriptor(index, { address: BigInt(address), length, flags, next: next(queue.size + 1) });
        if (write) this.#writable.fill(1, address, address + length);
      }
      this.#writable.fill(0, queue.descriptorTable, queue.descriptorTable + descriptorSize * queue.size);
    }
    this.#before = memory.bytes.slice();
  }

  /** Makes chains available in some queue. @returns the queue's index */
  offer(): number {
    const index = this.#next(this.#queues.length);
    const queue = this.#queues[index] as DriverQueue;
    for (let count = 1 + this.#next(3); count > 0; count--) {
      queue.makeAvailable(this.#next(200) === 0 ? this.#next(2 ** 16) : this.#next(queue.size));
    }
    const { availableRing, size } = queue;
    this.#before.set(this.#memory.bytes.subarray(availableRing, availableRing + 6 + 2 * size), availableRing);
    return index;
  }

  /** The offset of a byte that the device has written and must not have; -1 if there is none. */
  wrong(): number {
    return this.#memory.bytes.findIndex((byte, at) => byte !== this.#before[at] && this.#writable[at] === 0);
  }
}
