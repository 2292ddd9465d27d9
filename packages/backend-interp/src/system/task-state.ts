import { segment, systemType, vector } from "./architecture.ts";
import {
  isPresent,
  isWritableData,
  linearAddress,
  markAccessed,
  privilegeOf,
  readDescriptor,
  segmentOf,
  selectorCode,
} from "./descriptors.ts";
import type { SegmentValue } from "./registers.ts";
import type { SystemProcessor } from "./system-processor.ts";

/** Reads from the current task state segment; beyond its limit #TS with TR's selector. `external` is the EXT bit. */
function readTaskState(processor: SystemProcessor, offset: number, size: 2 | 4 | 8, external: number): bigint {
  const { registers, linear } = processor;
  if (registers.segmentUnusable(segment.tr) || offset + size - 1 > registers.segmentLimit(segment.tr)) {
    return processor.raise(vector.invalidTss, selectorCode(registers.selector(segment.tr)) | external);
  }
  return linear.readSystem(linearAddress(processor, registers.segmentBase(segment.tr) + BigInt(offset)), size);
}

/** RSP0 to RSP2 of a 64-bit task state segment (Intel SDM Vol. 3A §7.7). */
export function stackPointerOf(processor: SystemProcessor, privilege: number, external: number): bigint {
  return readTaskState(processor, 4 + 8 * privilege, 8, external);
}

/** IST1 to IST7. */
export function interruptStackOf(processor: SystemProcessor, index: number, external: number): bigint {
  return readTaskState(processor, 0x24 + 8 * (index - 1), 8, external);
}

/** The stack that a 16- or 32-bit task state segment has for an inner level, checked as for a load of SS. */
export function innerStackOf(
  processor: SystemProcessor,
  privilege: number,
  external: number,
): { readonly stack: SegmentValue; readonly pointer: bigint } {
  const type = processor.registers.segmentAttributes(segment.tr) & 15;
  const narrow = type === systemType.tss16 || type === systemType.tss16Busy;
  const pointer = narrow
    ? readTaskState(processor, 2 + 4 * privilege, 2, external)
    : readTaskState(processor, 4 + 8 * privilege, 4, external);
  const selector = Number(
    narrow
      ? readTaskState(processor, 4 + 4 * privilege, 2, external)
      : readTaskState(processor, 8 + 8 * privilege, 2, external),
  );
  const code = selectorCode(selector) | external;
  if (selectorCode(selector) === 0) {
    processor.raise(vector.invalidTss, code);
  }
  const descriptor = readDescriptor(processor, selector, vector.invalidTss);
  if ((selector & 3) !== privilege || !isWritableData(descriptor) || privilegeOf(descriptor) !== privilege) {
    processor.raise(vector.invalidTss, code);
  }
  if (!isPresent(descriptor)) {
    processor.raise(vector.stackFault, code);
  }
  markAccessed(processor, descriptor);
  return { stack: segmentOf(descriptor), pointer };
}
