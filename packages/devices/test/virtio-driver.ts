import type { GuestMemory } from "@cpr/core";
import { Virtqueue } from "../src/virtio/virtqueue.ts";

const descriptorSize = 16;
const flag = { next: 1, write: 2 } as const;

/** A request as a test's driver makes it: bytes to be read by the device, then room for what it writes. */
export interface DriverRequest {
  readonly readable?: readonly Uint8Array[];
  /** Lengths of the buffers that the device may write. */
  readonly writable?: readonly number[];
}

/** A request that the device has given back. */
export interface UsedRequest {
  readonly head: number;
  /** What the device says that it has written. */
  readonly length: number;
  /** The buffers that the device could write, as they are now. */
  readonly written: readonly Uint8Array[];
}

/** The driver's side of one virtqueue, in the RAM of a test: it makes requests as Linux would (virtio 1.2 §2.7). */
export class DriverQueue {
  readonly memory: GuestMemory;
  readonly size: number;
  readonly descriptorTable: number;
  readonly availableRing: number;
  readonly usedRing: number;
  #nextDescriptor = 0;
  #nextBuffer: number;
  #nextAvailable = 0;
  #nextUsed = 0;
  readonly #writable = new Map<number, Uint8Array[]>();

  /** Takes RAM from `base` on, a multiple of 4096: the rings, and buffers behind them. */
  constructor(memory: GuestMemory, base: number, size: number) {
    this.memory = memory;
    this.size = size;
    this.descriptorTable = base;
    this.availableRing = base + descriptorSize * size;
    this.usedRing = (this.availableRing + 6 + 2 * size + 3) & ~3;
    this.#nextBuffer = (this.usedRing + 6 + 8 * size + 15) & ~15;
  }

  /** Tells a queue of a device where the rings are. */
  setUp(queue: Virtqueue): void {
    queue.size = this.size;
    queue.descriptorTable = BigInt(this.descriptorTable);
    queue.availableRing = BigInt(this.availableRing);
    queue.usedRing = BigInt(this.usedRing);
    queue.enable();
  }

  /** Puts a request in the available ring. @returns the index of its first descriptor */
  offer({ readable = [], writable = [] }: DriverRequest): number {
    const buffers: { bytes: Uint8Array; address: number; write: boolean }[] = [];
    const place = (length: number, write: boolean): Uint8Array => {
      const address = this.#nextBuffer;
      this.#nextBuffer += (length + 15) & ~15;
      const bytes = this.memory.slice(address, length);
      buffers.push({ bytes, address, write });
      return bytes;
    };
    for (const bytes of readable) place(bytes.length, false).set(bytes);
    const room = writable.map((length) => place(length, true));
    const head = this.#nextDescriptor % this.size;
    for (const [index, { bytes, address, write }] of buffers.entries()) {
      const last = index === buffers.length - 1;
      const next = (this.#nextDescriptor + 1) % this.size;
      this.writeDescriptor(this.#nextDescriptor % this.size, {
        address: BigInt(address),
        length: bytes.length,
        flags: (write ? flag.write : 0) | (last ? 0 : flag.next),
        next,
      });
      this.#nextDescriptor += 1;
    }
    this.#writable.set(head, room);
    this.makeAvailable(head);
    return head;
  }

  /** Writes a descriptor, whatever it says. */
  writeDescriptor(
    index: number,
    { address, length, flags, next }: { address: bigint; length: number; flags: number; next: number },
  ): void {
    const view = this.memory.view(this.descriptorTable + descriptorSize * index, descriptorSize);
    view.setBigUint64(0, address, true);
    view.setUint32(8, length, true);
    view.setUint16(12, flags, true);
    view.setUint16(14, next, true);
  }

  /** Puts the index of a descriptor in the available ring. */
  makeAvailable(head: number): void {
    const ring = this.memory.view(this.availableRing, 4 + 2 * this.size);
    ring.setUint16(4 + 2 * (this.#nextAvailable % this.size), head, true);
    this.#nextAvailable += 1;
    ring.setUint16(2, this.#nextAvailable & 0xffff, true);
  }

  /** Takes the requests that the device has given back since the last call. */
  takeUsed(): readonly UsedRequest[] {
    const ring = this.memory.view(this.usedRing, 4 + 8 * this.size);
    const used: UsedRequest[] = [];
    while (this.#nextUsed !== ring.getUint16(2, true)) {
      const at = 4 + 8 * (this.#nextUsed % this.size);
      const head = ring.getUint32(at, true);
      const written = this.#writable.get(head) ?? [];
      used.push({ head, length: ring.getUint32(at + 4, true), written: written.map((bytes) => bytes.slice()) });
      this.#nextUsed = (this.#nextUsed + 1) & 0xffff;
    }
    return used;
  }
}

/** A queue as a transport would make it, with its driver's side, and what it told. */
export function queuePair(memory: GuestMemory, base: number, size: number) {
  const told = { interrupts: 0, again: 0, failures: [] as string[] };
  const queue = new Virtqueue({
    memory,
    maximumSize: size,
    interrupt: () => {
      told.interrupts += 1;
    },
    again: () => {
      told.again += 1;
    },
    fail: (reason) => told.failures.push(reason),
  });
  const driver = new DriverQueue(memory, base, size);
  return { queue, driver, told };
}
