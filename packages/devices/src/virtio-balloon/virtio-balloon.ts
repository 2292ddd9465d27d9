import { type Balloon, defineState, type GuestMemory, u32 } from "@cpr/core";
import { deviceErrors } from "../errors.ts";
import type { VirtioCheckpoint, VirtioDevice, VirtioDriver, VirtioTransport } from "../virtio/virtio-device.ts";
import type { DescriptorChain } from "../virtio/virtqueue.ts";
import { balloonDevice, configuration, feature, pageSize, queue } from "./registers.ts";

const queueSize = 128;
/** Bytes of page numbers that are looked at in one request: a driver has no reason to send more. */
const largestRequest = 64 * 1024;

/** The state as the guest can observe it, in pages. */
const balloonState = defineState("virtio-balloon", 1, {
  /** Pages that the guest is asked to give up. */
  target: u32,
  /** Pages that it says it has given up. */
  actual: u32,
});

/** What a balloon is made from. */
export interface VirtioBalloonOptions {
  readonly id: string;
  readonly memory: GuestMemory;
  /** The driver tells of pages that are free. */
  readonly reporting: boolean;
  /** The driver may take pages back by itself when it has none left. */
  readonly deflateOnOutOfMemory: boolean;
}

/**
 * A memory balloon (virtio 1.2 §5.5) with free page reporting: pages that the driver gives up or tells to be free go back to the
 * host, and are zero when the guest uses them again.
 */
export class VirtioBalloon implements VirtioDevice, Balloon {
  readonly deviceId = balloonDevice;
  readonly queueSizes: readonly number[];
  readonly features: bigint;
  readonly configuration = new Uint8Array(configuration.size);
  readonly checkpoint: VirtioCheckpoint = {
    kind: "state",
    schema: balloonState,
    save: () => ({ target: this.#target, actual: this.#actual }),
    restore: (state) => this.#restore(state["target"] as number, state["actual"] as number),
  };
  readonly balloon: Balloon = this;
  onChange: (actual: number) => void = () => undefined;
  readonly #view = new DataView(this.configuration.buffer);
  readonly #options: VirtioBalloonOptions;
  readonly #transport: VirtioTransport;
  readonly #request = new Uint8Array(largestRequest);
  #driver: VirtioDriver | undefined;

  constructor(options: VirtioBalloonOptions, transport: VirtioTransport) {
    this.#options = options;
    this.#transport = transport;
    const { reporting, deflateOnOutOfMemory } = options;
    this.queueSizes = Array.from({ length: reporting ? 3 : 2 }, () => queueSize);
    this.features = (reporting ? feature.reporting : 0n) | (deflateOnOutOfMemory ? feature.deflateOnOutOfMemory : 0n);
  }

  get actual(): number {
    return Math.max(0, this.#options.memory.size - this.#actual * pageSize);
  }

  setTarget(bytes: number): void {
    const { size } = this.#options.memory;
    this.#view.setUint32(configuration.target, Math.floor((size - Math.min(bytes, size)) / pageSize), true);
    this.#transport.configurationChanged();
  }

  writeConfiguration(offset: number, size: 1 | 2 | 4, value: number): void {
    // Only the answer is the driver's to write.
    if (offset < configuration.actual) return;
    const before = this.#actual;
    for (let index = 0; index < size; index++) this.#view.setUint8(offset + index, value >>> (8 * index));
    if (this.#actual !== before) this.onChange(this.actual);
  }

  start(driver: VirtioDriver): void {
    this.#driver = driver;
  }

  notify(index: number): void {
    const ring = this.#driver?.queues[index];
    ring?.process((chain) => {
      if (index === queue.inflate) this.#inflate(chain);
      else if (index === queue.reporting) this.#takeFree(chain);
      // A page that the guest takes back needs nothing: the host finds memory for it when it is used.
      ring.push(chain, 0);
    });
  }

  /** What the user wants stays: it is for the next driver too. */
  reset(): void {
    this.#driver = undefined;
    this.#view.setUint32(configuration.actual, 0, true);
  }

  get #target(): number {
    return this.#view.getUint32(configuration.target, true);
  }

  get #actual(): number {
    return this.#view.getUint32(configuration.actual, true);
  }

  /** Gives pages back that are told by their numbers (virtio 1.2 §5.5.6.1), those next to each other at once. */
  #inflate({ readable }: DescriptorChain): void {
    const { memory } = this.#options;
    let length = 0;
    for (const buffer of readable) {
      const part = buffer.subarray(0, largestRequest - length);
      this.#request.set(part, length);
      length += part.length;
    }
    const pages = new Uint32Array(this.#request.buffer, 0, Math.floor(length / 4)).slice().sort();
    for (let at = 0; at < pages.length; ) {
      const first = pages[at] as number;
      let last = first;
      for (at += 1; at < pages.length && (pages[at] as number) <= last + 1; at++) last = pages[at] as number;
      for (const [offset, size] of ranges(memory, first, last - first + 1)) memory.reclaim(offset, size);
    }
  }

  /** Gives pages back that the driver tells to be free (virtio 1.2 §5.5.6.7): whole ones, where a buffer has others too. */
  #takeFree({ writable }: DescriptorChain): void {
    const { memory } = this.#options;
    for (const { byteOffset, length } of writable) {
      const offset = byteOffset - memory.bytes.byteOffset;
      const start = Math.ceil(offset / pageSize) * pageSize;
      const end = Math.floor((offset + length) / pageSize) * pageSize;
      if (end > start) memory.reclaim(start, end - start);
    }
  }

  #restore(target: number, actual: number): void {
    const { id, memory } = this.#options;
    if (target * pageSize > memory.size) {
      throw deviceErrors.ERR_CPR_DEVICE_STATE({ device: id, reason: "a balloon larger than RAM is asked for" });
    }
    this.#view.setUint32(configuration.target, target, true);
    this.#view.setUint32(configuration.actual, actual, true);
  }
}

/** The parts of RAM that pages are in; those that are not RAM are left out. */
function* ranges(memory: GuestMemory, first: number, count: number): Generator<readonly [number, number]> {
  const offset = memory.offsetOf(first * pageSize, count * pageSize);
  if (offset >= 0) {
    yield [offset, count * pageSize];
    return;
  }
  for (let page = first; page < first + count; page++) {
    const single = memory.offsetOf(page * pageSize, pageSize);
    if (single >= 0) yield [single, pageSize];
  }
}
