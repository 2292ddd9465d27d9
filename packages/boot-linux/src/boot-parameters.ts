import { headerOffset } from "./bz-image.ts";
import type { MemoryMapEntry } from "./memory-map.ts";

/** Size of the zero page. */
export const bootParametersSize = 4096;

/** Offsets in the zero page beside those of the setup header (Linux Documentation/arch/x86/zero-page.rst). */
const offset = {
  acpiRootPointer: 0x070,
  ramdiskImageHigh: 0x0c0,
  ramdiskSizeHigh: 0x0c4,
  commandLineHigh: 0x0c8,
  memoryMapCount: 0x1e8,
  memoryMap: 0x2d0,
} as const;

const memoryMapCapacity = 128;
const memoryMapEntrySize = 20;
/** Type of loader: one that has no number of its own. */
const undefinedLoader = 0xff;
/** The type number of random bytes in the list of setup data. */
const setupRandomSeed = 9;

/** What the zero page tells the kernel. */
export interface BootParameters {
  /** The setup header of the bzImage; undefined for an ELF file, which has none. */
  readonly setupHeader: Uint8Array | undefined;
  readonly commandLineAddress: number;
  readonly initrd: { readonly address: number; readonly size: number } | undefined;
  /** Address of the RSDP, 0 if there is none. */
  readonly acpiRootPointer: number;
  readonly memoryMap: readonly MemoryMapEntry[];
  /** Address of the list of setup data, 0 if it is empty. */
  readonly setupData: number;
}

/** Writes the zero page, `struct boot_params` of Linux. */
export function writeBootParameters(view: DataView, parameters: BootParameters): void {
  const { setupHeader, commandLineAddress, initrd, memoryMap } = parameters;
  if (memoryMap.length > memoryMapCapacity) {
    throw new RangeError(`${memoryMap.length} entries do not fit in the memory map of the zero page`);
  }
  const bytes = new Uint8Array(view.buffer, view.byteOffset, bootParametersSize);
  bytes.fill(0);
  if (setupHeader !== undefined) {
    bytes.set(setupHeader, headerOffset.setupSectors);
  } else {
    // The least that a kernel without a header of its own looks at.
    view.setUint16(headerOffset.bootFlag, 0xaa55, true);
    view.setUint32(headerOffset.magic, 0x5372_6448, true);
    view.setUint32(headerOffset.kernelAlignment, 0x100_0000, true);
  }
  view.setUint8(headerOffset.typeOfLoader, undefinedLoader);
  view.setUint32(headerOffset.commandLinePointer, commandLineAddress, true);
  view.setUint32(offset.commandLineHigh, 0, true);
  const high = (value: number): number => Math.floor(value / 2 ** 32);
  view.setUint32(headerOffset.ramdiskImage, (initrd?.address ?? 0) >>> 0, true);
  view.setUint32(headerOffset.ramdiskSize, (initrd?.size ?? 0) >>> 0, true);
  view.setUint32(offset.ramdiskImageHigh, high(initrd?.address ?? 0), true);
  view.setUint32(offset.ramdiskSizeHigh, high(initrd?.size ?? 0), true);
  view.setBigUint64(offset.acpiRootPointer, BigInt(parameters.acpiRootPointer), true);
  view.setBigUint64(headerOffset.setupData, BigInt(parameters.setupData), true);
  view.setUint8(offset.memoryMapCount, memoryMap.length);
  for (const [index, { address, size, type }] of memoryMap.entries()) {
    const at = offset.memoryMap + index * memoryMapEntrySize;
    view.setBigUint64(at, BigInt(address), true);
    view.setBigUint64(at + 8, BigInt(size), true);
    view.setUint32(at + 16, type, true);
  }
}

/** Writes a list of setup data with one element: bytes that the kernel mixes into its random number generator. */
export function writeRandomSeed(view: DataView, seed: Uint8Array): void {
  view.setBigUint64(0, 0n, true);
  view.setUint32(8, setupRandomSeed, true);
  view.setUint32(12, seed.length, true);
  new Uint8Array(view.buffer, view.byteOffset + 16, seed.length).set(seed);
}
