import { bool, defineState, type GuestMemory, type StateOf, u16, u64 } from "@cpr/core";

/** Bits of a descriptor's flags (virtio 1.2 §2.7.5). */
const descriptorFlag = { next: 1, write: 2, indirect: 4 } as const;
/** Flags of the rings without VIRTIO_F_EVENT_IDX: the other side need not tell (virtio 1.2 §2.7.6, §2.7.8). */
const doNotTell = 1;
/** Bytes of a descriptor, of an element of the used ring, and of what precedes the elements of either ring. */
const descriptorSize = 16;
const usedElementSize = 8;
const ringHeader = 4;
const indexMask = 0xffff;

/** The state of a queue: where the driver has put it, and how far device and driver are (virtio 1.2 §2.7). */
export const virtqueueState = defineState("virtqueue", 1, {
  size: u16,
  enabled: bool,
  descriptorTable: u64,
  availableRing: u64,
  usedRing: u64,
  /** Index of the next element of the available ring that the device takes. */
  nextAvailable: u16,
  /** Index of the next element of the used ring that the device writes. */
  nextUsed: u16,
  /** What {@link nextUsed} was when the driver was told last. */
  told: u16,
});
export type VirtqueueState = StateOf<typeof virtqueueState>;

/** A request of the driver: buffers in guest RAM, no copies. */
export interface DescriptorChain {
  /** Index of its first descriptor, by which the driver knows it. */
  readonly head: number;
  /** What the device may read, in the chain's order. */
  readonly readable: readonly Uint8Array[];
  /** What the device may write, in the chain's order. */
  readonly writable: readonly Uint8Array[];
}

/** What a queue is made from. */
export interface VirtqueueOptions {
  readonly memory: GuestMemory;
  /** The largest size, a power of two up to 32768. */
  readonly maximumSize: number;
  /** Tells the driver that there are used buffers. */
  interrupt(): void;
  /** There is more to take, but it is the turn of others: the device is to be notified again, soon. */
  again(): void;
  /** The driver has broken a rule of the specification: the device cannot go on before it is reset. */
  fail(reason: string): void;
}

/** A store that no later load passes (on x86 a locked instruction): the vCPUs of KVM run while the device works. */
const fenceWord = new Int32Array(new SharedArrayBuffer(4));
function fence(): void {
  Atomics.store(fenceWord, 0, 0);
}

/**
 * The device's side of a split virtqueue (virtio 1.2 §2.7) with indirect descriptors and event indexes. What the driver
 * writes is checked when it is used; where it breaks the specification, the queue is not used any more and `fail` is called.
 */
export class Virtqueue {
  readonly maximumSize: number;
  /** Number of descriptors, a power of two. */
  size: number;
  /** Guest-physical addresses, as the driver has given them. */
  descriptorTable = 0n;
  availableRing = 0n;
  usedRing = 0n;
  /** Chains that were taken and are not yet back. */
  inFlight = 0;
  /** VIRTIO_F_EVENT_IDX and VIRTIO_F_INDIRECT_DESC were agreed on. */
  eventIndex = false;
  indirect = false;
  /** RAM is out of reach: there is nothing to take. */
  suspended = false;
  readonly #options: VirtqueueOptions;
  readonly #view: DataView;
  #enabled = false;
  #nextAvailable = 0;
  #nextUsed = 0;
  #told = 0;
  /** Offsets of the parts in RAM, where the queue is enabled. */
  #descriptors = 0;
  #available = 0;
  #used = 0;

  constructor(options: VirtqueueOptions) {
    this.#options = options;
    this.maximumSize = options.maximumSize;
    this.size = options.maximumSize;
    const { buffer, byteOffset, byteLength } = options.memory.bytes;
    this.#view = new DataView(buffer, byteOffset, byteLength);
  }

  get enabled(): boolean {
    return this.#enabled;
  }

  /** Begins to use the queue where its addresses say that it is. If it cannot be there, the driver has broken a rule. */
  enable(): void {
    const problem = this.#place();
    if (problem !== undefined) this.#fail(problem);
  }

  /** Forgets all that the driver has set up. */
  reset(): void {
    this.size = this.maximumSize;
    this.descriptorTable = 0n;
    this.availableRing = 0n;
    this.usedRing = 0n;
    this.inFlight = 0;
    this.eventIndex = false;
    this.indirect = false;
    this.#enabled = false;
    this.#nextAvailable = 0;
    this.#nextUsed = 0;
    this.#told = 0;
  }

  /** Takes the next chain that the driver has made available; undefined if there is none, or the queue is not in use. */
  pop(): DescriptorChain | undefined {
    if (!this.#enabled || this.suspended) return undefined;
    const ready = this.#availableCount();
    if (ready === 0) return undefined;
    if (ready > this.size) {
      this.#fail(`the available ring is ${ready} elements ahead, and has ${this.size}`);
      return undefined;
    }
    const slot = this.#nextAvailable & (this.size - 1);
    const head = this.#view.getUint16(this.#available + ringHeader + 2 * slot, true);
    const chain = this.#walk(head);
    if (typeof chain === "string") {
      this.#fail(chain);
      return undefined;
    }
    this.#nextAvailable = (this.#nextAvailable + 1) & indexMask;
    this.inFlight += 1;
    return chain;
  }

  /** Whether {@link pop} would find something. The driver is asked to tell of what comes later. */
  hasAvailable(): boolean {
    if (!this.#enabled || this.suspended) return false;
    if (this.#availableCount() !== 0) return true;
    if (!this.eventIndex) return false;
    this.#view.setUint16(this.#used + ringHeader + usedElementSize * this.size, this.#nextAvailable, true);
    fence();
    return this.#availableCount() !== 0;
  }

  /** Gives a chain back, in which the device has written `written` bytes. {@link tell} lets the driver know. */
  push({ head, writable }: DescriptorChain, written: number): void {
    this.inFlight -= 1;
    const { memory } = this.#options;
    for (const { byteOffset, length } of writable) memory.onDeviceWrite(byteOffset - memory.bytes.byteOffset, length);
    if (!this.#enabled) return;
    const at = this.#used + ringHeader + usedElementSize * (this.#nextUsed & (this.size - 1));
    this.#view.setUint32(at, head, true);
    this.#view.setUint32(at + 4, written, true);
    this.#nextUsed = (this.#nextUsed + 1) & indexMask;
    this.#view.setUint16(this.#used + 2, this.#nextUsed, true);
  }

  /** Gives a chain back to the available ring as if it had not been taken: only the one that was taken last. */
  unpop(): void {
    this.inFlight -= 1;
    this.#nextAvailable = (this.#nextAvailable - 1) & indexMask;
  }

  /** Tells the driver of the chains that were given back, unless it does not want to know (virtio 1.2 §2.7.7). */
  tell(): void {
    if (!this.#enabled || this.#told === this.#nextUsed) return;
    fence();
    const before = this.#told;
    this.#told = this.#nextUsed;
    if (this.#wantsToKnow(before)) this.#options.interrupt();
  }

  /**
   * Takes every chain there is and hands it to `handle`, and looks again until there is none. Chains that `handle` gives
   * back at once are told of together at the end. A driver that offers them as fast as they are taken is served in parts.
   */
  process(handle: (chain: DescriptorChain) => void): void {
    let left = this.size;
    do {
      for (let chain = this.pop(); chain !== undefined; chain = this.pop()) {
        handle(chain);
        left -= 1;
        if (left === 0) {
          this.tell();
          if (this.hasAvailable()) this.#options.again();
          return;
        }
      }
    } while (this.hasAvailable() && this.#enabled);
    this.tell();
  }

  save(): VirtqueueState {
    return {
      size: this.size,
      enabled: this.#enabled,
      descriptorTable: this.descriptorTable,
      availableRing: this.availableRing,
      usedRing: this.usedRing,
      nextAvailable: this.#nextAvailable,
      nextUsed: this.#nextUsed,
      told: this.#told,
    };
  }

  /** Why a state cannot be taken, or undefined if {@link restore} takes it. */
  problemOf(state: VirtqueueState): string | undefined {
    const trial = new Virtqueue(this.#options);
    trial.#set(state);
    const sound = state.size > 0 && state.size <= this.maximumSize && (state.size & (state.size - 1)) === 0;
    if (!sound) return `a queue of ${state.size} descriptors`;
    return state.enabled ? trial.#place() : undefined;
  }

  /** Takes a state that has no {@link problemOf}. */
  restore(state: VirtqueueState): void {
    this.#set(state);
    if (state.enabled) this.#place();
  }

  #set(state: VirtqueueState): void {
    this.size = state.size;
    this.descriptorTable = state.descriptorTable;
    this.availableRing = state.availableRing;
    this.usedRing = state.usedRing;
    this.inFlight = 0;
    this.#enabled = false;
    this.#nextAvailable = state.nextAvailable;
    this.#nextUsed = state.nextUsed;
    this.#told = state.told;
  }

  /** Finds the parts in RAM. @returns why that cannot be */
  #place(): string | undefined {
    const { size } = this;
    if (size === 0 || size > this.maximumSize || (size & (size - 1)) !== 0) return `a queue of ${size} descriptors`;
    const part = (address: bigint, length: number, alignment: number): number =>
      address % BigInt(alignment) === 0n ? this.#offset(address, length) : -1;
    // virtio 1.2 §2.7: alignment and length of the parts, each with the event index at the end.
    this.#descriptors = part(this.descriptorTable, descriptorSize * size, 16);
    this.#available = part(this.availableRing, ringHeader + 2 * size + 2, 2);
    this.#used = part(this.usedRing, ringHeader + usedElementSize * size + 2, 4);
    if (this.#descriptors < 0 || this.#available < 0 || this.#used < 0) {
      return "a queue that is not aligned, or not in RAM";
    }
    this.#enabled = true;
    return undefined;
  }

  #offset(address: bigint, length: number): number {
    return address > BigInt(Number.MAX_SAFE_INTEGER) ? -1 : this.#options.memory.offsetOf(Number(address), length);
  }

  #availableCount(): number {
    return (this.#view.getUint16(this.#available + 2, true) - this.#nextAvailable) & indexMask;
  }

  #wantsToKnow(before: number): boolean {
    if (!this.eventIndex) {
      return (this.#view.getUint16(this.#available, true) & doNotTell) === 0;
    }
    // virtio 1.2 §2.7.7.2: when the element with the index that the driver names has been used.
    const event = this.#view.getUint16(this.#available + ringHeader + 2 * this.size, true);
    return ((this.#nextUsed - event - 1) & indexMask) < ((this.#nextUsed - before) & indexMask);
  }

  /** The chain that begins at a descriptor, or what is wrong with it. */
  #walk(head: number): DescriptorChain | string {
    const view = this.#view;
    const { memory } = this.#options;
    const readable: Uint8Array[] = [];
    const writable: Uint8Array[] = [];
    let table = this.#descriptors;
    let entries = this.size;
    let index = head;
    let inTable = false;
    for (let count = 0; ; ) {
      if (index >= entries) return `a chain leads to descriptor ${index} of ${entries}`;
      const at = table + descriptorSize * index;
      const length = view.getUint32(at + 8, true);
      const flags = view.getUint16(at + 12, true);
      const address = view.getBigUint64(at, true);
      if ((flags & descriptorFlag.indirect) !== 0) {
        // virtio 1.2 §2.7.5.3.1: not in an indirect table, not with a next one, and at least one descriptor.
        const offset = this.#offset(address, length);
        const wrong = inTable || (flags & descriptorFlag.next) !== 0 || length === 0 || length % descriptorSize !== 0;
        if (!this.indirect || wrong || offset < 0) return "an indirect table that may not be";
        inTable = true;
        table = offset;
        entries = length / descriptorSize;
        index = 0;
        continue;
      }
      count += 1;
      // A chain is never longer than the queue, so that a loop has an end.
      if (count > this.size) return `a chain of more than ${this.size} descriptors`;
      const offset = this.#offset(address, length);
      if (offset < 0) return `a buffer outside RAM: 0x${address.toString(16)}+0x${length.toString(16)}`;
      const buffer = memory.bytes.subarray(offset, offset + length);
      if ((flags & descriptorFlag.write) !== 0) writable.push(buffer);
      else if (writable.length > 0) return "a buffer to be read behind one to be written";
      else readable.push(buffer);
      if ((flags & descriptorFlag.next) === 0) break;
      index = view.getUint16(at + 14, true);
    }
    return { head, readable, writable };
  }

  #fail(reason: string): void {
    this.#enabled = false;
    this.#options.fail(reason);
  }
}
