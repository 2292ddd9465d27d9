import type { CodePages } from "../code-pages.ts";
import { eferAt, modifyOffsetSlot, privilegeAt, slowAddressSlot, slowValueSlot } from "../layout.ts";
import type { CoreMemory, LinearMemory, Mode } from "../processor-interface.ts";
import { efer } from "./architecture.ts";
import { access, type PageWalker } from "./paging.ts";
import type { PhysicalMemory } from "./physical-memory.ts";
import type { TranslationBuffer } from "./translation-buffer.ts";

/** What linear memory needs of its processor. */
export interface LinearMemoryOwner {
  readonly core: CoreMemory;
  readonly codePages: CodePages;
  readonly mode: Mode;
  readonly physical: PhysicalMemory;
  readonly walker: PageWalker;
  readonly translations: TranslationBuffer;
  /** Stores the address in CR2 and throws #PF. */
  raisePageFault(high: number, low: number, errorCode: number): never;
  /** Throws #GP(0), or #SS(0) if the access that executes goes by the stack segment. */
  raiseNotCanonical(): never;
  /** Pages that data breakpoints watch are kept out of the TLB, and each access to them is told. */
  watchesPage(high: number, low: number): boolean;
  watchAccess(high: number, low: number, size: number, write: boolean): void;
  /** A page that instructions were fetched from at a privilege, not global in the sense of CR4.PGE. */
  fetchedFrom(high: number, low: number, global: boolean): void;
}

type Size = 1 | 2 | 4 | 8;

/**
 * Linear memory with all that stands between it and RAM. Addresses are pairs of unsigned 32-bit halves on the fast
 * paths; the bigint forms of {@link LinearMemory} are made of them.
 */
export class PagedMemory implements LinearMemory {
  /** What {@link load} found, as unsigned 32-bit halves. */
  valueLow = 0;
  valueHigh = 0;
  /** Guest-physical address of the access that {@link translate} found not to be RAM. */
  device = 0;

  readonly #owner: LinearMemoryOwner;
  readonly #u32: Uint32Array;
  readonly #ram8: Uint8Array;
  readonly #ramView: DataView;
  readonly #physical: PhysicalMemory;
  readonly #walker: PageWalker;
  readonly #codePages: CodePages;
  readonly #translations: TranslationBuffer;
  readonly #halves = new Uint32Array(2);
  readonly #whole = new BigUint64Array(this.#halves.buffer);
  readonly #bytes = new DataView(new ArrayBuffer(16));
  #modifyHigh = 0;
  #modifyLow = 0;

  constructor(owner: LinearMemoryOwner) {
    this.#owner = owner;
    this.#u32 = owner.core.u32;
    this.#physical = owner.physical;
    this.#ram8 = owner.physical.ram.u8;
    this.#ramView = owner.physical.ram.view;
    this.#walker = owner.walker;
    this.#codePages = owner.codePages;
    this.#translations = owner.translations;
  }

  /**
   * RAM offset of a byte for an access, `write` (and `user`) of {@link access}; -1 if it is a device's, whose address is
   * then in {@link device}. Raises #PF and #GP.
   */
  translate(high: number, low: number, wanted: number): number {
    const user = (wanted & access.user) !== 0;
    const found = this.#translations.find(high, low, (wanted & access.write) !== 0, user);
    return found >= 0 ? found : this.#miss(high, low, wanted);
  }

  #miss(high: number, low: number, wanted: number): number {
    const sign = (high | 0) >> 15;
    if (sign !== 0 && sign !== -1) {
      this.#owner.raiseNotCanonical();
    }
    const walker = this.#walker;
    if (!walker.walk(high, low, wanted)) {
      this.#owner.raisePageFault(high, low, walker.errorCode);
    }
    const page = walker.physical;
    const offset = this.#physical.ramOffset(page);
    if (offset < 0) {
      this.device = page + (low & 0xfff);
      return -1;
    }
    if (!this.#owner.watchesPage(high, low)) {
      const storable = walker.writable && !this.#codePages.has(offset / 0x1000);
      this.#translations.enter(high, low, (wanted & access.user) !== 0, offset, walker, storable);
    }
    return offset + (low & 0xfff);
  }

  translateFetch(address: bigint): number {
    this.#whole[0] = address;
    const low = this.#halves[0] as number;
    const high = this.#halves[1] as number;
    const user = this.#rights() !== 0;
    const found = this.#translations.findExecutable(high, low, user);
    if (found >= 0) {
      this.#owner.fetchedFrom(high, low, this.#translations.isGlobal(low, user));
      return found;
    }
    const offset = this.#miss(high, low, access.fetch | (user ? access.user : 0));
    this.#owner.fetchedFrom(high, low, this.#walker.global);
    return offset;
  }

  protectCode(ramPage: number): void {
    this.#translations.protect(ramPage);
  }

  /** The `user` bit of an access at the current privilege. */
  #rights(): number {
    return this.#u32[privilegeAt >> 2] === 3 ? access.user : 0;
  }

  /** High half of the address `length` bytes further on, in {@link #nextHigh}; addresses wrap at 32 bits outside long mode. */
  #advance(high: number, low: number, length: number): number {
    const next = low + length;
    const carry = next > 0xffff_ffff ? 1 : 0;
    const long = ((this.#u32[eferAt >> 2] as number) & efer.longModeActive) !== 0;
    this.#nextHigh = long ? (high + carry) >>> 0 : high;
    return next >>> 0;
  }
  #nextHigh = 0;

  /** Loads 1, 2, 4 or 8 bytes into {@link valueLow} and {@link valueHigh}. `rights`: {@link access}.user or 0. */
  load(high: number, low: number, size: number, rights: number): void {
    this.#owner.watchAccess(high, low, size, false);
    if ((low & 0xfff) + size > 0x1000) {
      this.#gather(high, low, size, rights);
      // NOTE: only `size` bytes are this access's, the others are left from an earlier one.
      this.valueLow = size === 2 ? this.#bytes.getUint16(0, true) : this.#bytes.getUint32(0, true);
      this.valueHigh = size === 8 ? this.#bytes.getUint32(4, true) : 0;
      return;
    }
    const offset = this.translate(high, low, rights);
    if (offset < 0) {
      const device = this.device;
      this.valueLow = this.#physical.readDevice(device, Math.min(size, 4)) >>> 0;
      this.valueHigh = size === 8 ? this.#physical.readDevice(device + 4, 4) >>> 0 : 0;
      return;
    }
    this.valueHigh = 0;
    if (size === 1) this.valueLow = this.#ram8[offset] as number;
    else if (size === 2) this.valueLow = this.#ramView.getUint16(offset, true);
    else {
      this.valueLow = this.#ramView.getUint32(offset, true);
      if (size === 8) this.valueHigh = this.#ramView.getUint32(offset + 4, true);
    }
  }

  /** Stores 1, 2, 4 or 8 bytes. Of a store that crosses pages nothing is written unless all of it can be. */
  store(high: number, low: number, size: number, valueLow: number, valueHigh: number, rights: number): void {
    this.#owner.watchAccess(high, low, size, true);
    if ((low & 0xfff) + size > 0x1000) {
      this.#bytes.setUint32(0, valueLow, true);
      this.#bytes.setUint32(4, valueHigh, true);
      this.#scatter(high, low, size, rights);
      return;
    }
    const offset = this.translate(high, low, rights | access.write);
    if (offset < 0) {
      const device = this.device;
      this.#physical.writeDevice(device, Math.min(size, 4), valueLow);
      if (size === 8) this.#physical.writeDevice(device + 4, 4, valueHigh);
      return;
    }
    if (size === 1) this.#ram8[offset] = valueLow;
    else if (size === 2) this.#ramView.setUint16(offset, valueLow, true);
    else {
      this.#ramView.setUint32(offset, valueLow, true);
      if (size === 8) this.#ramView.setUint32(offset + 4, valueHigh, true);
    }
    this.written(offset);
  }

  /** Must be told of every store to RAM that did not go by a write tag of the TLB. `offset` is a RAM offset in the page. */
  written(offset: number): void {
    this.#codePages.written(Math.floor(offset / 0x1000));
  }

  /**
   * An access that reaches beyond the lower canonical addresses, or beyond 4 GiB and so behind a flat segment's limit. Both
   * count before the pages do.
   */
  #checkLimit(high: number, low: number, size: number): void {
    if (low + size <= 0x1_0000_0000 || (high !== 0 && high !== 0x7fff)) return;
    const { long, flat } = this.#owner.mode;
    if (high !== 0 || (!long && flat)) this.#owner.raiseNotCanonical();
  }

  /** Reads an access of up to 16 bytes that crosses into the next page into {@link #bytes}. */
  #gather(high: number, low: number, size: number, rights: number): void {
    this.#checkLimit(high, low, size);
    const first = 0x1000 - (low & 0xfff);
    const start = this.translate(high, low, rights);
    const startDevice = this.device;
    const next = this.#advance(high, low, first);
    const second = this.translate(this.#nextHigh, next, rights);
    const secondDevice = this.device;
    for (let index = 0; index < size; index++) {
      const onFirst = index < first;
      const offset = onFirst ? start + index : second + index - first;
      const inRam = onFirst ? start >= 0 : second >= 0;
      const device = onFirst ? startDevice + index : secondDevice + index - first;
      this.#bytes.setUint8(index, inRam ? (this.#ram8[offset] as number) : this.#physical.readDevice(device, 1));
    }
  }

  /** The inverse of {@link #gather}: both pages are checked first. */
  #scatter(high: number, low: number, size: number, rights: number): void {
    this.#checkLimit(high, low, size);
    const first = 0x1000 - (low & 0xfff);
    const start = this.translate(high, low, rights | access.write);
    const startDevice = this.device;
    const next = this.#advance(high, low, first);
    const second = this.translate(this.#nextHigh, next, rights | access.write);
    const secondDevice = this.device;
    for (let index = 0; index < size; index++) {
      const byte = this.#bytes.getUint8(index);
      const onFirst = index < first;
      if (onFirst ? start >= 0 : second >= 0) {
        this.#ram8[onFirst ? start + index : second + index - first] = byte;
      } else {
        this.#physical.writeDevice(onFirst ? startDevice + index : secondDevice + index - first, 1, byte);
      }
    }
    if (start >= 0) this.written(start);
    if (second >= 0) this.written(second);
  }

  #loadWide(high: number, low: number, rights: number): void {
    const u32 = this.#u32;
    const value = slowValueSlot >> 2;
    if ((low & 0xfff) + 16 > 0x1000) {
      this.#owner.watchAccess(high, low, 16, false);
      this.#gather(high, low, 16, rights);
      for (let index = 0; index < 4; index++) {
        u32[value + index] = this.#bytes.getUint32(index * 4, true);
      }
      return;
    }
    this.load(high, low, 8, rights);
    u32[value] = this.valueLow;
    u32[value + 1] = this.valueHigh;
    this.load(high, low + 8, 8, rights);
    u32[value + 2] = this.valueLow;
    u32[value + 3] = this.valueHigh;
  }

  #storeWide(high: number, low: number, rights: number): void {
    const u32 = this.#u32;
    const value = slowValueSlot >> 2;
    if ((low & 0xfff) + 16 > 0x1000) {
      this.#owner.watchAccess(high, low, 16, true);
      for (let index = 0; index < 4; index++) {
        this.#bytes.setUint32(index * 4, u32[value + index] as number, true);
      }
      this.#scatter(high, low, 16, rights);
      return;
    }
    this.store(high, low, 8, u32[value] as number, u32[value + 1] as number, rights);
    this.store(high, low + 8, 8, u32[value + 2] as number, u32[value + 3] as number, rights);
  }

  /** Import `slowLoad` of the core: address and value are in their slots. */
  slowLoad(size: number): void {
    const u32 = this.#u32;
    const low = u32[slowAddressSlot >> 2] as number;
    const high = u32[(slowAddressSlot >> 2) + 1] as number;
    if (size === 16) {
      this.#loadWide(high, low, this.#rights());
      return;
    }
    this.load(high, low, size, this.#rights());
    u32[slowValueSlot >> 2] = this.valueLow;
    u32[(slowValueSlot >> 2) + 1] = this.valueHigh;
  }

  slowStore(size: number): void {
    const u32 = this.#u32;
    const low = u32[slowAddressSlot >> 2] as number;
    const high = u32[(slowAddressSlot >> 2) + 1] as number;
    if (size === 16) {
      this.#storeWide(high, low, this.#rights());
      return;
    }
    const value = slowValueSlot >> 2;
    this.store(high, low, size, u32[value] as number, u32[value + 1] as number, this.#rights());
  }

  slowModify(size: number): void {
    const u32 = this.#u32;
    this.loadModify(u32[(slowAddressSlot >> 2) + 1] as number, u32[slowAddressSlot >> 2] as number, size);
    u32[slowValueSlot >> 2] = this.valueLow;
    u32[(slowValueSlot >> 2) + 1] = this.valueHigh;
  }

  /** Loads for a store-back: checks for writing, and leaves in the core memory where the store goes. */
  loadModify(high: number, low: number, size: number): void {
    const u32 = this.#u32;
    const rights = this.#rights();
    const at = modifyOffsetSlot >> 2;
    this.#modifyHigh = high;
    this.#modifyLow = low;
    u32[at] = 0xffff_ffff;
    u32[at + 1] = 0xffff_ffff;
    this.#checkLimit(high, low, size);
    const offset = this.translate(high, low, rights | access.write);
    if ((low & 0xfff) + size > 0x1000) {
      const next = this.#advance(high, low, 0x1000 - (low & 0xfff));
      this.translate(this.#nextHigh, next, rights | access.write);
    } else if (
      offset >= 0 &&
      !this.#codePages.has(Math.floor(offset / 0x1000)) &&
      !this.#owner.watchesPage(high, low)
    ) {
      const place = offset + this.#physical.ram.start;
      u32[at] = place >>> 0;
      u32[at + 1] = Math.floor(place / 0x1_0000_0000);
    }
    this.load(high, low, size, rights);
  }

  slowStoreBack(size: number): void {
    const value = slowValueSlot >> 2;
    const u32 = this.#u32;
    this.store(this.#modifyHigh, this.#modifyLow, size, u32[value] as number, u32[value + 1] as number, this.#rights());
  }

  read(address: bigint, size: Size): bigint {
    return this.readAs(this.#rights(), address, size);
  }

  readSystem(address: bigint, size: Size): bigint {
    return this.readAs(0, address, size);
  }

  /** Reads with rights that need not be the current ones: {@link access}.user or 0. */
  readAs(rights: number, address: bigint, size: Size): bigint {
    this.#whole[0] = address;
    this.load(this.#halves[1] as number, this.#halves[0] as number, size, rights);
    if (size !== 8) {
      return BigInt(this.valueLow);
    }
    this.#halves[0] = this.valueLow;
    this.#halves[1] = this.valueHigh;
    return this.#whole[0] as bigint;
  }

  write(address: bigint, size: Size, value: bigint): void {
    this.writeAs(this.#rights(), address, size, value);
  }

  writeSystem(address: bigint, size: Size, value: bigint): void {
    this.writeAs(0, address, size, value);
  }

  writeAs(rights: number, address: bigint, size: Size, value: bigint): void {
    this.#whole[0] = value;
    const valueLow = this.#halves[0] as number;
    const valueHigh = this.#halves[1] as number;
    this.#whole[0] = address;
    this.store(this.#halves[1] as number, this.#halves[0] as number, size, valueLow, valueHigh, rights);
  }

  probeWrite(address: bigint, size: number): void {
    this.#probe(address, size, this.#rights() | access.write);
  }

  /** As {@link probeWrite}, with rights that need not be the current ones. */
  probeWriteAs(rights: number, address: bigint, size: number): void {
    this.#probe(address, size, rights | access.write);
  }

  /** Checks that a {@link store} would succeed. */
  probeStore(high: number, low: number, size: number, rights: number): void {
    this.#probeHalves(high, low, size, rights | access.write);
  }

  #probe(address: bigint, size: number, wanted: number): void {
    this.#whole[0] = address;
    this.#probeHalves(this.#halves[1] as number, this.#halves[0] as number, size, wanted);
  }

  #probeHalves(startHigh: number, startLow: number, size: number, wanted: number): void {
    let low = startLow;
    let high = startHigh;
    let left = size;
    this.#checkLimit(high, low, size);
    while (left > 0) {
      this.translate(high, low, wanted);
      const length = 0x1000 - (low & 0xfff);
      low = this.#advance(high, low, length);
      high = this.#nextHigh;
      left -= length;
    }
  }

  readBytes(address: bigint, length: number): Uint8Array {
    const result = new Uint8Array(length);
    const rights = this.#rights();
    this.#eachPage(address, length, rights, (offset, device, at, count) => {
      if (offset >= 0) {
        result.set(this.#ram8.subarray(offset, offset + count), at);
      } else {
        for (let index = 0; index < count; index++) {
          result[at + index] = this.#physical.readDevice(device + index, 1);
        }
      }
    });
    return result;
  }

  writeBytes(address: bigint, bytes: Uint8Array): void {
    const rights = this.#rights();
    this.#probe(address, bytes.length, rights | access.write);
    this.#eachPage(address, bytes.length, rights | access.write, (offset, device, at, count) => {
      if (offset >= 0) {
        this.#ram8.set(bytes.subarray(at, at + count), offset);
        this.written(offset);
      } else {
        for (let index = 0; index < count; index++) {
          this.#physical.writeDevice(device + index, 1, bytes[at + index] as number);
        }
      }
    });
  }

  #eachPage(
    address: bigint,
    length: number,
    wanted: number,
    visit: (offset: number, device: number, at: number, count: number) => void,
  ): void {
    this.#whole[0] = address;
    let low = this.#halves[0] as number;
    let high = this.#halves[1] as number;
    this.#owner.watchAccess(high, low, length, (wanted & access.write) !== 0);
    this.#checkLimit(high, low, length);
    let at = 0;
    while (at < length) {
      const count = Math.min(length - at, 0x1000 - (low & 0xfff));
      const offset = this.translate(high, low, wanted);
      visit(offset, this.device, at, count);
      low = this.#advance(high, low, count);
      high = this.#nextHigh;
      at += count;
    }
  }
}
