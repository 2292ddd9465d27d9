/** A stretch of guest-physical address space that is RAM. */
export interface RamRegion {
  /** First guest-physical address, in bytes. */
  readonly guestAddress: number;
  /** Length in bytes. */
  readonly size: number;
  /** Where the region begins in {@link RamAllocation.bytes}. */
  readonly offset: number;
}

/**
 * Host address space for all RAM of a VM, made by an execution backend (which knows what kind of memory its CPU
 * code can reach) and filled by memory providers, which map their files over parts of it.
 */
export interface RamAllocation {
  /** All RAM of the VM, without the holes of the guest-physical address space. Never grows, never moves. */
  readonly bytes: Uint8Array;
  /** What the machine thread needs to reach the same memory: a structured-cloneable value. */
  readonly handle: unknown;
}

/** Where the kernel demands that a piece of RAM begins in the address space. */
export interface RamAlignment {
  /** Its address is a multiple of this, a power of two. */
  readonly multiple: number;
  /** The address of a view's first byte, which JavaScript itself does not tell. */
  addressOf(bytes: Uint8Array): bigint;
}

/** The lower end of the hole for devices below 4 GiB; RAM beyond it continues at 4 GiB. */
export const lowRamLimit = 0xc000_0000;

/** The guest-physical address at which RAM continues above the hole. */
export const highRamBase = 0x1_0000_0000;

/** Lays out `size` bytes of RAM in the guest-physical address space of a PC: below 3 GiB, the rest from 4 GiB on. */
export function layOutRam(size: number): readonly RamRegion[] {
  const low = { guestAddress: 0, size: Math.min(size, lowRamLimit), offset: 0 };
  return size <= lowRamLimit ? [low] : [low, { guestAddress: highRamBase, size: size - low.size, offset: low.size }];
}

/**
 * Guest RAM as devices and loaders see it. Addresses are guest-physical byte addresses as numbers (they stay below
 * 2^53). Every access goes to the mapped memory itself.
 */
export class GuestMemory {
  readonly regions: readonly RamRegion[];
  /** All RAM; see {@link RamAllocation.bytes}. */
  readonly bytes: Uint8Array;
  readonly size: number;
  /**
   * Called when a device has written to RAM by itself, before the guest can know: a range of {@link bytes}. Set by an execution backend
   * that keeps what it has made of the guest's code.
   */
  onDeviceWrite: (offset: number, length: number) => void = () => undefined;

  /**
   * Gives whole pages of {@link bytes} back to the host, which the guest does not expect to keep what they hold. Nothing happens where
   * the kind of RAM cannot do it. Set by the machine.
   */
  reclaim: (offset: number, length: number) => void = () => undefined;

  constructor(bytes: Uint8Array, regions: readonly RamRegion[]) {
    this.bytes = bytes;
    this.regions = regions;
    this.size = bytes.length;
  }

  /** Offset in {@link bytes} of a range that lies in RAM as a whole, or -1 if any of it does not. */
  offsetOf(address: number, length: number): number {
    for (const region of this.regions) {
      const within = address - region.guestAddress;
      if (within >= 0 && within + length <= region.size) {
        return region.offset + within;
      }
    }
    return -1;
  }

  /**
   * A window on guest RAM; no copy is made.
   *
   * @throws {RangeError} if any of the range is not RAM in one region.
   */
  slice(address: number, length: number): Uint8Array {
    const offset = this.offsetOf(address, length);
    if (offset < 0) {
      throw new RangeError(`guest-physical range 0x${address.toString(16)}+0x${length.toString(16)} is not RAM`);
    }
    return this.bytes.subarray(offset, offset + length);
  }

  /** A `DataView` of {@link slice}. */
  view(address: number, length: number): DataView {
    const window = this.slice(address, length);
    return new DataView(window.buffer, window.byteOffset, window.byteLength);
  }
}
