import { type ApicMessage, array, type BusHandler, bool, defineState, type StateOf, struct, u32 } from "@cpr/core";
import { apicMessageOf } from "./interrupt-message.ts";

const entrySize = 16;
const leastSize = 0x1000;

const messageEntryState = defineState("pci/message", 1, {
  addressLow: u32,
  addressHigh: u32,
  data: u32,
  masked: bool,
  pending: bool,
});

/** State of an entry of the table, with its pending bit. */
export type MessageState = StateOf<typeof messageEntryState>;

/** The field of a function's state that has its MSI-X table and pending bits. */
export const messageTableField = (vectors: number) => array(struct(messageEntryState), vectors);

interface Entry extends MessageState {
  /** What address and data mean. */
  message: ApicMessage | undefined;
}

/** An MSI-X table with its pending bit array (PCI 3.0 §6.8.2): the table first, the bits in the second half of the range. */
export class MessageTable {
  readonly handler: BusHandler = {
    read: (offset, size) => {
      const word = this.#word(offset & ~3);
      return size === 4 ? word : (word >>> (8 * (offset & 3))) & (2 ** (8 * size) - 1);
    },
    // Only aligned accesses of 4 and 8 bytes are allowed (§6.8.2.6).
    write: (offset, size, value) => {
      if (size === 4 && (offset & 3) === 0) this.#write(offset, value);
    },
  };
  /** Bytes of the range. */
  readonly size: number;
  /** Where the pending bits begin. */
  readonly pendingOffset: number;
  /** MSI-X is enabled; all vectors are masked. Set by the function. */
  enabled = false;
  allMasked = false;
  readonly #send: (message: ApicMessage) => void;
  readonly #entries: Entry[];

  constructor(vectors: number, send: (message: ApicMessage) => void) {
    this.#send = send;
    this.#entries = Array.from({ length: vectors }, initialEntry);
    this.size = Math.max(leastSize, 2 ** Math.ceil(Math.log2(2 * entrySize * vectors)));
    this.pendingOffset = this.size / 2;
  }

  /** Sends a vector's message, or notes that it is to be sent when it is unmasked. */
  send(vector: number): void {
    const entry = this.#entries[vector];
    if (entry === undefined || !this.enabled) return;
    if (this.allMasked || entry.masked) entry.pending = true;
    else if (entry.message !== undefined) this.#send(entry.message);
  }

  /** Sends what has waited and is not masked any more. */
  sendPending(): void {
    if (!this.enabled || this.allMasked) return;
    for (const entry of this.#entries) this.#settle(entry);
  }

  reset(): void {
    this.enabled = false;
    this.allMasked = false;
    for (const entry of this.#entries) Object.assign(entry, initialEntry());
  }

  save(): MessageState[] {
    return this.#entries.map(({ message: _, ...entry }) => entry);
  }

  restore(state: readonly MessageState[]): void {
    for (const [index, entry] of this.#entries.entries()) {
      Object.assign(entry, state[index]);
      interpret(entry);
    }
  }

  #word(offset: number): number {
    if (offset >= this.pendingOffset) {
      const first = (offset - this.pendingOffset) * 8;
      const bits = this.#entries.slice(first, first + 32).map(({ pending }, bit) => (pending ? 2 ** bit : 0));
      return bits.reduce((sum, bit) => sum + bit, 0);
    }
    const entry = this.#entries[Math.floor(offset / entrySize)];
    if (entry === undefined) return 0;
    return [entry.addressLow, entry.addressHigh, entry.data, Number(entry.masked)][(offset >> 2) & 3] as number;
  }

  #write(offset: number, value: number): void {
    const entry = offset >= this.pendingOffset ? undefined : this.#entries[Math.floor(offset / entrySize)];
    if (entry === undefined) return;
    switch ((offset >> 2) & 3) {
      case 0:
        entry.addressLow = (value & ~3) >>> 0;
        break;
      case 1:
        entry.addressHigh = value;
        break;
      case 2:
        entry.data = value;
        break;
      default:
        entry.masked = (value & 1) !== 0;
    }
    interpret(entry);
    if (this.enabled && !this.allMasked) this.#settle(entry);
  }

  #settle(entry: Entry): void {
    if (!entry.pending || entry.masked) return;
    entry.pending = false;
    if (entry.message !== undefined) this.#send(entry.message);
  }
}

function interpret(entry: Entry): void {
  const { addressLow, addressHigh, data } = entry;
  entry.message = addressHigh === 0 ? apicMessageOf({ address: addressLow, data }) : undefined;
}

function initialEntry(): Entry {
  return { addressLow: 0, addressHigh: 0, data: 0, masked: true, pending: false, message: undefined };
}
