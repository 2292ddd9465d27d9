/**
 * The numbers of QEMU's migration stream (QEMU: migration/savevm.h, migration/ram.c; docs/stream-format.md). All
 * integers of the stream are big-endian.
 *
 * @packageDocumentation
 */

/** `QEVM`. */
export const streamMagic = 0x5145_564d;
export const streamVersion = 3;

/** The byte that begins each part of the stream. */
export const sectionType = {
  end: 0x00,
  start: 0x01,
  part: 0x02,
  last: 0x03,
  full: 0x04,
  subsection: 0x05,
  description: 0x06,
  configuration: 0x07,
  command: 0x08,
  footer: 0x7e,
} as const;

/** Sent before the last part of RAM; it has no data. */
export const switchoverStart = 11;

/** Flags in the low bits of the address that begins each record of the RAM section. */
export const ramFlag = {
  zero: 0x02,
  blockList: 0x04,
  page: 0x08,
  end: 0x10,
  sameBlock: 0x20,
} as const;

export const ramSectionName = "ram";
export const ramSectionVersion = 4;

/** Guest pages are 4 KiB. */
export const pageSize = 4096;
export const pageBits = 12;

/**
 * Longest name in the stream, in bytes. QEMU itself takes 255.
 *
 * NOTE: QEMU's analyze-migration.py reads the length as a signed byte.
 */
export const maximumName = 127;

const encoder = new TextEncoder();

/** A name as it stands in the stream. @throws {RangeError} if it is empty or too long. */
export function encodeName(name: string): Uint8Array {
  const bytes = encoder.encode(name);
  if (bytes.length === 0 || bytes.length > maximumName) {
    throw new RangeError(`'${name}' is not a possible name in a migration stream`);
  }
  return bytes;
}

/** Whether a name can stand in the stream. */
export function isStreamName(name: string): boolean {
  const { length } = encoder.encode(name);
  return length > 0 && length <= maximumName;
}
