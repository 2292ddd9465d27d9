import { gzipSync, zstdCompressSync } from "node:zlib";
import { lzma, xz } from "@napi-rs/lzma";
import { compressSync } from "lz4-napi";

/** A part of an ELF file that a test makes. */
export interface TestSegment {
  readonly physicalAddress: number;
  readonly virtualAddress?: bigint;
  readonly bytes: Uint8Array;
  readonly memorySize?: number;
}

export interface TestElf {
  readonly segments: readonly TestSegment[];
  readonly entry: bigint;
  readonly is64Bit?: boolean;
  readonly machine?: number;
  /** Address in a PVH note. */
  readonly pvhEntry?: number;
}

/** Makes an ELF program. */
export function makeElf({ segments, entry, is64Bit = true, machine = 62, pvhEntry }: TestElf): Uint8Array {
  const notes = pvhEntry === undefined ? [] : [makeNotes(pvhEntry)];
  const count = segments.length + notes.length;
  const headerSize = is64Bit ? 64 : 52;
  const entrySize = is64Bit ? 56 : 32;
  let offset = headerSize + count * entrySize;
  const size = [...segments.map(({ bytes }) => bytes), ...notes].reduce((sum, { length }) => sum + length, offset);
  const file = new Uint8Array(size);
  const view = new DataView(file.buffer);
  const long = (at: number, at32: number, value: bigint): void => {
    if (is64Bit) view.setBigUint64(at, value, true);
    else view.setUint32(at32, Number(value & 0xffff_ffffn), true);
  };
  file.set([0x7f, 0x45, 0x4c, 0x46, is64Bit ? 2 : 1, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, machine, true);
  long(24, 24, entry);
  long(32, 28, BigInt(headerSize));
  view.setUint16(is64Bit ? 54 : 42, entrySize, true);
  view.setUint16(is64Bit ? 56 : 44, count, true);
  const programHeader = (index: number, type: number, segment: TestSegment): void => {
    const at = headerSize + index * entrySize;
    view.setUint32(at, type, true);
    long(at + 8, at + 4, BigInt(offset));
    long(at + 16, at + 8, segment.virtualAddress ?? BigInt(segment.physicalAddress));
    long(at + 24, at + 12, BigInt(segment.physicalAddress));
    long(at + 32, at + 16, BigInt(segment.bytes.length));
    long(at + 40, at + 20, BigInt(segment.memorySize ?? segment.bytes.length));
    file.set(segment.bytes, offset);
    offset += segment.bytes.length;
  };
  for (const [index, segment] of segments.entries()) programHeader(index, 1, segment);
  for (const bytes of notes) programHeader(segments.length, 4, { physicalAddress: 0, bytes });
  return file;
}

/** Two notes, of which the second tells the PVH entry point. */
function makeNotes(pvhEntry: number): Uint8Array {
  const bytes = new Uint8Array(16 + 4 + 20);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 4, true);
  view.setUint32(4, 3, true);
  view.setUint32(8, 6, true);
  bytes.set(Buffer.from("Xen\0abc\0"), 12);
  view.setUint32(20, 4, true);
  view.setUint32(24, 4, true);
  view.setUint32(28, 18, true);
  bytes.set(Buffer.from("Xen\0"), 32);
  view.setUint32(36, pvhEntry, true);
  return bytes;
}

export interface TestBzImage {
  readonly payload: Uint8Array;
  readonly version?: number;
  readonly loadFlags?: number;
  readonly extendedLoadFlags?: number;
  readonly commandLineLimit?: number;
  readonly initrdAddressMaximum?: number;
  readonly preferredAddress?: number;
  readonly initialSize?: number;
}

/** Where the payload begins in the protected-mode part. */
const payloadOffset = 0x300;
const setupSectors = 3;

/** Makes a bzImage whose protected-mode part is filled with 0xcc up to the payload. */
export function makeBzImage(image: TestBzImage): Uint8Array {
  const setupSize = (setupSectors + 1) * 512;
  const paragraphs = Math.ceil((payloadOffset + image.payload.length) / 16);
  const file = new Uint8Array(setupSize + paragraphs * 16);
  const view = new DataView(file.buffer);
  file[0x1f1] = setupSectors;
  view.setUint32(0x1f4, paragraphs, true);
  view.setUint16(0x1fe, 0xaa55, true);
  file.set([0xeb, 0x66], 0x200);
  file.set(Buffer.from("HdrS"), 0x202);
  view.setUint16(0x206, image.version ?? 0x020f, true);
  view.setUint8(0x211, image.loadFlags ?? 0x01);
  view.setUint32(0x22c, image.initrdAddressMaximum ?? 0x7fff_ffff, true);
  view.setUint32(0x230, 0x20_0000, true);
  view.setUint16(0x236, image.extendedLoadFlags ?? 0x003f, true);
  view.setUint32(0x238, image.commandLineLimit ?? 2047, true);
  view.setUint32(0x248, payloadOffset, true);
  view.setUint32(0x24c, image.payload.length, true);
  view.setBigUint64(0x258, BigInt(image.preferredAddress ?? 0x10_0000), true);
  view.setUint32(0x260, image.initialSize ?? 0x10_0000, true);
  file.fill(0xcc, setupSize, setupSize + payloadOffset);
  file.set(image.payload, setupSize + payloadOffset);
  return file;
}

function withSize(compressed: Uint8Array, size: number): Uint8Array {
  const trailer = new Uint8Array(4);
  new DataView(trailer.buffer).setUint32(0, size, true);
  return Buffer.concat([compressed, trailer]);
}

/** LZ4's legacy frame format: blocks of 8 MiB. */
function lz4Legacy(bytes: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [Uint8Array.of(0x02, 0x21, 0x4c, 0x18)];
  for (let at = 0; at < bytes.length; at += 8 * 2 ** 20) {
    // The library puts the block's unpacked size in front.
    const block = compressSync(Buffer.from(bytes.subarray(at, at + 8 * 2 ** 20))).subarray(4);
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, block.length, true);
    parts.push(length, block);
  }
  return Buffer.concat(parts);
}

/** Compressors as the kernel's build has them, by the name of the format. */
export const compressors: Readonly<Record<string, (bytes: Uint8Array) => Uint8Array>> = {
  gzip: (bytes) => gzipSync(bytes),
  zstd: (bytes) => withSize(zstdCompressSync(bytes), bytes.length),
  lz4: (bytes) => withSize(lz4Legacy(bytes), bytes.length),
  xz: (bytes) => withSize(xz.compressSync(bytes), bytes.length),
  lzma: (bytes) => withSize(lzma.compressSync(bytes), bytes.length),
  uncompressed: (bytes) => bytes,
};
