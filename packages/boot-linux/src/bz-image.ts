import { bootErrors } from "./errors.ts";

const sectorSize = 512;
const headerMagic = 0x5372_6448; // "HdrS"
const bootFlag = 0xaa55;
/** The first version of the boot protocol with a 64-bit entry point (Linux 3.8). */
const oldestVersion = 0x020c;

/** Offsets in the first sectors of a bzImage, and in the zero page (Linux Documentation/arch/x86/boot.rst). */
export const headerOffset = {
  setupSectors: 0x1f1,
  systemSize: 0x1f4,
  bootFlag: 0x1fe,
  jump: 0x200,
  magic: 0x202,
  version: 0x206,
  typeOfLoader: 0x210,
  loadFlags: 0x211,
  ramdiskImage: 0x218,
  ramdiskSize: 0x21c,
  commandLinePointer: 0x228,
  initrdAddressMaximum: 0x22c,
  kernelAlignment: 0x230,
  extendedLoadFlags: 0x236,
  commandLineSize: 0x238,
  payloadOffset: 0x248,
  payloadLength: 0x24c,
  setupData: 0x250,
  preferredAddress: 0x258,
  initialSize: 0x260,
} as const;

const loadedHigh = 0x01;
const kernel64 = 0x0001;

/** A Linux kernel as it is installed: setup header, and a program that unpacks the kernel proper. */
export interface BzImage {
  /** The setup header, from offset 0x1f1 of the file on. */
  readonly setupHeader: Uint8Array;
  /** The program that unpacks the kernel, which expects to be loaded at {@link preferredAddress} and has a 64-bit entry point at 0x200. */
  readonly protectedMode: Uint8Array;
  /** The compressed kernel proper. */
  readonly payload: Uint8Array;
  /** Longest command line, without its NUL. */
  readonly commandLineLimit: number;
  /** Highest address that the initrd may have. */
  readonly initrdAddressMaximum: number;
  readonly preferredAddress: number;
  /** RAM that the kernel needs from {@link preferredAddress} on before it has looked at the memory map. */
  readonly initialSize: number;
}

/** Whether a file begins as a bzImage does. */
export function isBzImage(file: Uint8Array): boolean {
  const view = viewOf(file);
  return file.length > headerOffset.version + 1 && view.getUint32(headerOffset.magic, true) === headerMagic;
}

/**
 * Takes a bzImage apart and checks that it is whole (Linux Documentation/arch/x86/boot.rst, "The Real-Mode Kernel
 * Header"). Nothing is copied.
 *
 * @throws {CprError} if it is too old, not of a 64-bit kernel, or truncated.
 */
export function parseBzImage(file: Uint8Array, path: string): BzImage {
  const view = viewOf(file);
  const refuse = (reason: string): Error => bootErrors.ERR_CPR_KERNEL_FORMAT({ path, reason });
  if (file.length < headerOffset.initialSize + 4) {
    throw bootErrors.ERR_CPR_KERNEL_TRUNCATED({ path, size: file.length, needed: headerOffset.initialSize + 4 });
  }
  const version = view.getUint16(headerOffset.version, true);
  if (view.getUint16(headerOffset.bootFlag, true) !== bootFlag || version < oldestVersion) {
    throw refuse(`boot protocol ${version >> 8}.${version & 0xff} is older than 2.12, of Linux 3.8`);
  }
  if (
    (view.getUint8(headerOffset.loadFlags) & loadedHigh) === 0 ||
    (view.getUint16(headerOffset.extendedLoadFlags, true) & kernel64) === 0
  ) {
    throw refuse("it has no 64-bit entry point");
  }
  // 0 means 4, for kernels that are older than the field.
  const setupSize = ((view.getUint8(headerOffset.setupSectors) || 4) + 1) * sectorSize;
  const needed = setupSize + view.getUint32(headerOffset.systemSize, true) * 16;
  const payloadOffset = view.getUint32(headerOffset.payloadOffset, true);
  const payloadLength = view.getUint32(headerOffset.payloadLength, true);
  // NOTE: a signed kernel is longer than its header says; the system size counts paragraphs and is rounded up.
  if (file.length < needed - 15 || file.length < setupSize + payloadOffset + payloadLength) {
    const size = file.length;
    throw bootErrors.ERR_CPR_KERNEL_TRUNCATED({
      path,
      size,
      needed: Math.max(needed, setupSize + payloadOffset + payloadLength),
    });
  }
  const headerEnd = headerOffset.magic + view.getUint8(headerOffset.jump + 1);
  return {
    setupHeader: file.subarray(headerOffset.setupSectors, headerEnd),
    protectedMode: file.subarray(setupSize, needed),
    payload: file.subarray(setupSize + payloadOffset, setupSize + payloadOffset + payloadLength),
    commandLineLimit: view.getUint32(headerOffset.commandLineSize, true),
    initrdAddressMaximum: view.getUint32(headerOffset.initrdAddressMaximum, true),
    preferredAddress: Number(view.getBigUint64(headerOffset.preferredAddress, true)),
    initialSize: view.getUint32(headerOffset.initialSize, true),
  };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
