import { attribute, efer, privilegeShift, segment, vector } from "./architecture.ts";
import type { SegmentValue } from "./registers.ts";
import type { SystemProcessor } from "./system-processor.ts";

/** A descriptor as it stands in a table (Intel SDM Vol. 3A §3.4.5, §3.5). */
export interface Descriptor {
  readonly selector: number;
  /** Linear address of the descriptor. */
  readonly address: bigint;
  readonly low: number;
  readonly high: number;
  /** Bits 8 to 23 without the limit's: as in {@link SegmentValue}. */
  readonly attributes: number;
  /** Scaled by the granularity. */
  readonly limit: number;
  /** 32 bits; the upper half of a 16-byte descriptor is read by {@link readUpperBase}. */
  readonly base: number;
}

export function parseDescriptor(selector: number, address: bigint, low: number, high: number): Descriptor {
  const raw = ((low & 0xffff) | (high & 0x000f_0000)) >>> 0;
  const attributes = (high >>> 8) & 0xf0ff;
  return {
    selector,
    address,
    low,
    high,
    attributes,
    limit: (attributes & attribute.granular) === 0 ? raw : ((raw << 12) | 0xfff) >>> 0,
    base: ((low >>> 16) | ((high & 0xff) << 16) | (high & 0xff00_0000)) >>> 0,
  };
}

/** Bits of a descriptor, for conditions. */
export const isOrdinary = ({ attributes }: Descriptor): boolean => (attributes & attribute.ordinary) !== 0;
export const isCode = ({ attributes }: Descriptor): boolean =>
  (attributes & (attribute.ordinary | attribute.code)) === (attribute.ordinary | attribute.code);
export const isConforming = (descriptor: Descriptor): boolean =>
  isCode(descriptor) && (descriptor.attributes & attribute.conforming) !== 0;
export const isWritableData = ({ attributes }: Descriptor): boolean =>
  (attributes & (attribute.ordinary | attribute.code | attribute.readWrite)) ===
  (attribute.ordinary | attribute.readWrite);
export const isPresent = ({ attributes }: Descriptor): boolean => (attributes & attribute.present) !== 0;
export const privilegeOf = ({ attributes }: Descriptor): number => (attributes >> privilegeShift) & 3;
/** Type of a system descriptor, undefined for a code or data segment. */
export const systemTypeOf = (descriptor: Descriptor): number | undefined =>
  isOrdinary(descriptor) ? undefined : descriptor.attributes & 15;

/** The code for a selector in an exception: without RPL. */
export const selectorCode = (selector: number): number => selector & 0xfffc;

/** Reads a descriptor from the GDT or LDT, or undefined if it lies beyond the table's limit. */
export function findDescriptor(processor: SystemProcessor, selector: number): Descriptor | undefined {
  const { registers, linear } = processor;
  let base: bigint;
  let limit: number;
  if ((selector & 4) === 0) {
    ({ base, limit } = registers.gdtr);
  } else {
    if (registers.segmentUnusable(segment.ldtr)) return undefined;
    base = registers.segmentBase(segment.ldtr);
    limit = registers.segmentLimit(segment.ldtr);
  }
  const offset = selector & 0xfff8;
  if (offset + 7 > limit) {
    return undefined;
  }
  const address = linearAddress(processor, base + BigInt(offset));
  const value = linear.readSystem(address, 8);
  return parseDescriptor(selector, address, Number(value & 0xffff_ffffn), Number(value >> 32n));
}

/** As {@link findDescriptor}; raises `fault` (#GP or #TS) with the selector if there is none or the selector is null. */
export function readDescriptor(
  processor: SystemProcessor,
  selector: number,
  fault: number = vector.generalProtection,
): Descriptor {
  if (selectorCode(selector) === 0) {
    return processor.raise(fault, 0);
  }
  return findDescriptor(processor, selector) ?? processor.raise(fault, selectorCode(selector));
}

/** Upper half of a base address in a 16-byte descriptor. Raises #GP if it lies beyond the table's limit or is malformed. */
export function readUpperBase(processor: SystemProcessor, descriptor: Descriptor): bigint {
  const { registers, linear } = processor;
  const limit = (descriptor.selector & 4) === 0 ? registers.gdtr.limit : registers.segmentLimit(segment.ldtr);
  if ((descriptor.selector & 0xfff8) + 15 > limit) {
    return processor.raise(vector.generalProtection, selectorCode(descriptor.selector));
  }
  const high = linear.readSystem(descriptor.address + 12n, 4);
  if ((high & 0x1f00n) !== 0n) {
    return processor.raise(vector.generalProtection, selectorCode(descriptor.selector));
  }
  return linear.readSystem(descriptor.address + 8n, 4);
}

/** A linear address, cut to 32 bits outside long mode. */
export function linearAddress(processor: SystemProcessor, address: bigint): bigint {
  return (processor.registers.efer & efer.longModeActive) === 0
    ? BigInt.asUintN(32, address)
    : BigInt.asUintN(64, address);
}

/** Whether a 64-bit address is canonical with 48 bits. */
export function isCanonical(address: bigint): boolean {
  return BigInt.asUintN(64, BigInt.asIntN(48, address)) === BigInt.asUintN(64, address);
}

/** Sets the accessed bit in the table, as loading a segment register does. */
export function markAccessed(processor: SystemProcessor, descriptor: Descriptor): void {
  if ((descriptor.attributes & attribute.accessed) === 0) {
    processor.linear.writeSystem(descriptor.address + 5n, 1, BigInt(((descriptor.high >>> 8) & 0xff) | 1));
  }
}

/** The hidden part of a segment register that is loaded with a descriptor of a code or data segment. */
export function segmentOf(descriptor: Descriptor, selector: number = descriptor.selector): SegmentValue {
  return {
    selector,
    base: BigInt(descriptor.base),
    limit: descriptor.limit,
    attributes: descriptor.attributes | attribute.accessed,
    unusable: false,
  };
}

/** A segment register that holds a null selector. For SS, whose DPL is CPL in a saved state, the RPL is kept as DPL. */
export function nullSegment(selector: number): SegmentValue {
  return { selector, base: 0n, limit: 0, attributes: (selector & 3) << privilegeShift, unusable: true };
}

/** The hidden part in real and virtual-8086 mode. */
export function realSegment(selector: number, code: boolean, privilege: number): SegmentValue {
  return {
    selector,
    base: BigInt(selector) << 4n,
    limit: 0xffff,
    attributes:
      attribute.present |
      attribute.ordinary |
      attribute.readWrite |
      attribute.accessed |
      (code && privilege === 0 ? attribute.code : 0) |
      (privilege << privilegeShift),
    unusable: false,
  };
}
