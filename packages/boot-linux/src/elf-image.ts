import { bootErrors } from "./errors.ts";

const elfMagic = 0x464c_457f;
const class32 = 1;
const class64 = 2;
const littleEndian = 1;
const machine386 = 3;
const machineX8664 = 62;
const segmentLoad = 1;
const segmentNote = 4;
/** Type and name of the note that tells of a PVH entry point (Xen, include/public/elfnote.h: XEN_ELFNOTE_PHYS32_ENTRY). */
const noteType = 18;
const noteName = "Xen\0";

/** A part of an ELF file that is loaded. */
export interface ElfSegment {
  readonly physicalAddress: number;
  readonly bytes: Uint8Array;
  /** Size in memory; what is beyond {@link bytes} is zero. */
  readonly memorySize: number;
}

/** An ELF program. */
export interface ElfImage {
  readonly is64Bit: boolean;
  readonly segments: readonly ElfSegment[];
  /** Physical address of the entry point. */
  readonly entry: number;
  /** Physical address of the 32-bit PVH entry point, if it has one. */
  readonly pvhEntry: number | undefined;
}

/** Whether a file begins as an ELF file does. */
export function isElf(file: Uint8Array): boolean {
  return file.length >= 4 && new DataView(file.buffer, file.byteOffset, 4).getUint32(0, true) === elfMagic;
}

/** Reads the words of an ELF file whose size depends on its class. */
class ElfReader {
  readonly #view: DataView;
  readonly #is64Bit: boolean;

  constructor(view: DataView, is64Bit: boolean) {
    this.#view = view;
    this.#is64Bit = is64Bit;
  }

  half(at: number): number {
    return this.#view.getUint16(at, true);
  }

  word(at: number): number {
    return this.#view.getUint32(at, true);
  }

  /** An address, offset or size: `at` for class 64 and `at32` for class 32. */
  long(at: number, at32: number): bigint {
    return this.#is64Bit ? this.#view.getBigUint64(at, true) : BigInt(this.#view.getUint32(at32, true));
  }
}

/**
 * Reads the program headers of an ELF file (System V ABI; AMD64 supplement). Nothing is copied.
 *
 * @throws {CprError} if it is not an x86 program or is truncated.
 */
export function parseElf(file: Uint8Array, path: string): ElfImage {
  const refuse = (reason: string): Error => bootErrors.ERR_CPR_KERNEL_FORMAT({ path, reason });
  const truncated = (needed: number): Error => bootErrors.ERR_CPR_KERNEL_TRUNCATED({ path, size: file.length, needed });
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length < 64) {
    throw truncated(64);
  }
  const elfClass = view.getUint8(4);
  const is64Bit = elfClass === class64;
  if ((!is64Bit && elfClass !== class32) || view.getUint8(5) !== littleEndian) {
    throw refuse("it is neither a 32-bit nor a 64-bit little-endian ELF file");
  }
  const elf = new ElfReader(view, is64Bit);
  const machine = elf.half(18);
  if (machine !== machineX8664 && machine !== machine386) {
    throw refuse(`it is for another kind of processor (ELF machine ${machine})`);
  }
  const headerOffset = Number(elf.long(32, 28));
  const headerSize = elf.half(is64Bit ? 54 : 42);
  const headerCount = elf.half(is64Bit ? 56 : 44);
  if (headerSize < (is64Bit ? 56 : 32)) {
    throw refuse("it has no program headers");
  }
  if (headerOffset + headerCount * headerSize > file.length) {
    throw truncated(headerOffset + headerCount * headerSize);
  }

  const segments: (ElfSegment & { readonly virtualAddress: bigint })[] = [];
  let pvhEntry: number | undefined;
  for (let index = 0; index < headerCount; index++) {
    const at = headerOffset + index * headerSize;
    const type = elf.word(at);
    const offset = Number(elf.long(at + 8, at + 4));
    const fileSize = Number(elf.long(at + 32, at + 16));
    const memorySize = Number(elf.long(at + 40, at + 20));
    if (type !== segmentLoad && type !== segmentNote) continue;
    if (offset + fileSize > file.length) {
      throw truncated(offset + fileSize);
    }
    const bytes = file.subarray(offset, offset + fileSize);
    if (type === segmentNote) {
      pvhEntry ??= findPvhEntry(bytes);
    } else if (memorySize < fileSize) {
      throw refuse("a segment is larger in the file than in memory");
    } else if (memorySize > 0) {
      const virtualAddress = elf.long(at + 16, at + 8);
      segments.push({ physicalAddress: Number(elf.long(at + 24, at + 12)), bytes, memorySize, virtualAddress });
    }
  }
  if (segments.length === 0) {
    throw refuse("nothing in it is to be loaded");
  }
  const entry = elf.long(24, 24);
  return { is64Bit, segments, entry: physicalEntry(entry, segments), pvhEntry };
}

/** Linux gives a physical entry address, other programs a virtual one. */
function physicalEntry(entry: bigint, segments: readonly (ElfSegment & { readonly virtualAddress: bigint })[]): number {
  const within = (start: bigint, size: number): boolean => entry >= start && entry < start + BigInt(size);
  if (segments.some((segment) => within(BigInt(segment.physicalAddress), segment.memorySize))) {
    return Number(entry);
  }
  const segment = segments.find((each) => within(each.virtualAddress, each.memorySize));
  return segment === undefined ? Number(entry) : segment.physicalAddress + Number(entry - segment.virtualAddress);
}

function findPvhEntry(notes: Uint8Array): number | undefined {
  const view = new DataView(notes.buffer, notes.byteOffset, notes.byteLength);
  const align = (size: number): number => (size + 3) & ~3;
  let at = 0;
  while (at + 12 <= notes.length) {
    const nameSize = view.getUint32(at, true);
    const descriptionSize = view.getUint32(at + 4, true);
    const type = view.getUint32(at + 8, true);
    const description = at + 12 + align(nameSize);
    if (description + descriptionSize > notes.length) break;
    const name = Buffer.from(notes.buffer, notes.byteOffset + at + 12, nameSize).toString("latin1");
    if (type === noteType && name === noteName && descriptionSize >= 4) {
      return view.getUint32(description, true);
    }
    at = description + align(descriptionSize);
  }
  return undefined;
}
