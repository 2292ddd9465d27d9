import type { AccessSize, BusSpace, RamRegion } from "@cpr/core";
import type { RamViews } from "../processor-interface.ts";

/** Guest-physical memory: where RAM lies, and the bus for the rest. Addresses are numbers: they stay below 2^52. */
export class PhysicalMemory {
  readonly ram: RamViews;
  readonly mmio: BusSpace;
  readonly #bases: readonly number[];
  readonly #ends: readonly number[];
  readonly #offsets: readonly number[];

  constructor(ram: RamViews, regions: readonly RamRegion[], mmio: BusSpace) {
    this.ram = ram;
    this.mmio = mmio;
    this.#bases = regions.map(({ guestAddress }) => guestAddress);
    this.#ends = regions.map(({ guestAddress, size }) => guestAddress + size);
    this.#offsets = regions.map(({ offset }) => offset);
  }

  /** RAM offset of a page that is RAM as a whole, or -1. `page` is a page-aligned address. */
  ramOffset(page: number): number {
    for (let index = 0; index < this.#bases.length; index++) {
      const base = this.#bases[index] as number;
      if (page >= base && page + 0x1000 <= (this.#ends[index] as number)) {
        return page - base + (this.#offsets[index] as number);
      }
    }
    return -1;
  }

  /** Reads an aligned dword, from RAM or a device: for page tables. */
  readDword(address: number): number {
    const offset = this.ramOffset(address - (address % 0x1000));
    return offset < 0 ? this.mmio.read(address, 4) : (this.ram.u32[(offset + (address % 0x1000)) / 4] as number);
  }

  /** Reads up to four bytes that are not RAM, in pieces that are powers of two. */
  readDevice(address: number, size: number): number {
    if (size === 3) {
      return this.mmio.read(address, 2) | (this.mmio.read(address + 2, 1) << 16);
    }
    return this.mmio.read(address, size as AccessSize) >>> 0;
  }

  writeDevice(address: number, size: number, value: number): void {
    if (size === 3) {
      this.mmio.write(address, 2, value & 0xffff);
      this.mmio.write(address + 2, 1, (value >>> 16) & 0xff);
    } else {
      this.mmio.write(address, size as AccessSize, size === 4 ? value >>> 0 : value & (2 ** (8 * size) - 1));
    }
  }
}
