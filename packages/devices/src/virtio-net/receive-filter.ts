import { bool, bytes, defineState, type StateOf, struct, u8 } from "@cpr/core";
import { isGroup, macSize } from "./mac-address.ts";

/** How many addresses a table has room for; with more, all of the kind are taken. */
const tableEntries = 64;

const tableState = defineState("virtio-net/addresses", 1, {
  count: u8,
  overflow: bool,
  addresses: bytes(tableEntries * macSize),
});

/** The state of a {@link ReceiveFilter}. */
export const receiveFilterState = defineState("virtio-net/filter", 1, {
  promiscuous: bool,
  allMulticast: bool,
  unicast: struct(tableState),
  multicast: struct(tableState),
});

type Table = StateOf<typeof tableState>;
const emptyTable = (): Table => ({ count: 0, overflow: false, addresses: new Uint8Array(tableEntries * macSize) });
const copyTable = (table: Table): Table => ({ ...table, addresses: table.addresses.slice() });

/** Which frames the driver wants (virtio 1.2 §5.1.6.5.1, §5.1.6.5.2): all, as long as it has said nothing. */
export class ReceiveFilter {
  promiscuous = true;
  allMulticast = false;
  #unicast = emptyTable();
  #multicast = emptyTable();

  /** Whether a frame is wanted whose destination is at an offset, by a card of that address. */
  accepts(frame: Uint8Array, offset: number, mac: Uint8Array): boolean {
    if (this.promiscuous) return true;
    if (isGroup(frame, offset)) {
      return this.allMulticast || isBroadcast(frame, offset) || isIn(this.#multicast, frame, offset);
    }
    return isSame(frame, offset, mac, 0) || isIn(this.#unicast, frame, offset);
  }

  /** Takes the two tables that a driver sends: each a number of addresses and the addresses. @returns whether it could be read */
  setTables(data: Uint8Array): boolean {
    const first = readTable(data, 0);
    const second = first === undefined ? undefined : readTable(data, first.end);
    if (first === undefined || second === undefined || second.end !== data.length) return false;
    this.#unicast = first.table;
    this.#multicast = second.table;
    return true;
  }

  reset(): void {
    this.promiscuous = true;
    this.allMulticast = false;
    this.#unicast = emptyTable();
    this.#multicast = emptyTable();
  }

  save(): StateOf<typeof receiveFilterState> {
    const { promiscuous, allMulticast } = this;
    return {
      promiscuous,
      allMulticast,
      unicast: copyTable(this.#unicast),
      multicast: copyTable(this.#multicast),
    };
  }

  /** Takes a state that is no {@link isImpossible}. */
  restore({ promiscuous, allMulticast, unicast, multicast }: StateOf<typeof receiveFilterState>): void {
    this.promiscuous = promiscuous;
    this.allMulticast = allMulticast;
    this.#unicast = copyTable(unicast);
    this.#multicast = copyTable(multicast);
  }
}

/** Whether a state says what its schema cannot forbid. */
export function isImpossible({ unicast, multicast }: StateOf<typeof receiveFilterState>): boolean {
  return unicast.count > tableEntries || multicast.count > tableEntries;
}

function readTable(data: Uint8Array, start: number): { readonly table: Table; readonly end: number } | undefined {
  const countSize = 4;
  if (start + countSize > data.length) return undefined;
  const count = new DataView(data.buffer, data.byteOffset).getUint32(start, true);
  const begin = start + countSize;
  const end = begin + count * macSize;
  if (end > data.length) return undefined;
  const table = emptyTable();
  if (count > tableEntries) return { table: { ...table, overflow: true }, end };
  table.addresses.set(data.subarray(begin, end));
  return { table: { ...table, count }, end };
}

function isIn({ count, overflow, addresses }: Table, frame: Uint8Array, offset: number): boolean {
  if (overflow) return true;
  for (let index = 0; index < count; index += 1) {
    if (isSame(frame, offset, addresses, index * macSize)) return true;
  }
  return false;
}

function isSame(one: Uint8Array, at: number, other: Uint8Array, otherAt: number): boolean {
  for (let index = 0; index < macSize; index += 1) {
    if (one[at + index] !== other[otherAt + index]) return false;
  }
  return true;
}

function isBroadcast(frame: Uint8Array, offset: number): boolean {
  for (let index = 0; index < macSize; index += 1) {
    if (frame[offset + index] !== 0xff) return false;
  }
  return true;
}
