import { attribute, flag, segment, systemType, vector } from "./architecture.ts";
import {
  type Descriptor,
  findDescriptor,
  isCanonical,
  isCode,
  isConforming,
  isPresent,
  linearAddress,
  markAccessed,
  nullSegment,
  privilegeOf,
  segmentOf,
  selectorCode,
} from "./descriptors.ts";
import { loadRealSegment } from "./segments.ts";
import { StackCursor } from "./stack.ts";
import type { EventKind, SystemProcessor } from "./system-processor.ts";
import { innerStackOf, interruptStackOf, stackPointerOf } from "./task-state.ts";

/** Exceptions that are not faults: their handlers return behind the instruction, and RF is not set in the stored flags. */
const notFaults: readonly number[] = [vector.debug, vector.breakpoint, vector.overflow, vector.doubleFault, 18];

/** A gate of the IDT. */
interface Gate {
  readonly selector: number;
  readonly offset: bigint;
  readonly type: number;
  /** In a 64-bit gate, else 0. */
  readonly interruptStack: number;
}

/**
 * Delivers an exception or interrupt (Intel SDM Vol. 3A chapter 6, real mode Vol. 3B §20.1.4): stores RFLAGS, CS, RIP
 * (and SS:RSP, and the error code) on the handler's stack and enters the handler. Registers change only when nothing
 * can go wrong any more; what goes wrong is raised.
 */
export function deliverEvent(
  processor: SystemProcessor,
  number: number,
  kind: EventKind,
  errorCode: number | undefined,
  returnAddress: bigint,
): void {
  const { registers } = processor;
  let flags = processor.readFlags();
  if (kind === "exception" && !notFaults.includes(number)) {
    flags |= flag.resume;
  }
  if ((registers.cr0 & 1) === 0) {
    deliverReal(processor, number, flags, returnAddress);
    return;
  }
  const external = kind === "software" ? 0 : 1;
  const gate = readGate(processor, number, kind, external);
  const target = handlerSegment(processor, gate, external);
  const { cpl } = registers;
  const privilege = isConforming(target) ? cpl : privilegeOf(target);
  if (registers.longMode) {
    deliverLong(processor, gate, target, privilege, external, flags, errorCode, returnAddress);
  } else {
    deliverLegacy(processor, gate, target, privilege, external, flags, errorCode, returnAddress);
  }
  let cleared = flag.trap | flag.nestedTask | flag.resume | flag.virtual8086;
  if (gate.type === systemType.interruptGate || gate.type === systemType.interruptGate16) {
    cleared |= flag.interrupt;
  }
  processor.writeFlags(flags & ~cleared);
  registers.writeSegment(segment.cs, { ...segmentOf(target), selector: selectorCode(gate.selector) | privilege });
  processor.setPrivilege(privilege);
  registers.rip = gate.offset;
  processor.modeChanged();
}

function deliverReal(processor: SystemProcessor, number: number, flags: number, returnAddress: bigint): void {
  const { registers, linear } = processor;
  const { base, limit } = registers.idtr;
  if (number * 4 + 3 > limit) {
    processor.raise(vector.generalProtection, 0);
  }
  const handler = Number(linear.readSystem(linearAddress(processor, base + BigInt(number * 4)), 4));
  const stack = StackCursor.current(processor);
  stack.push(2, BigInt(flags & 0xffff));
  stack.push(2, BigInt(registers.selector(segment.cs)));
  stack.push(2, returnAddress & 0xffffn);
  stack.commit();
  processor.writeFlags(flags & ~(flag.interrupt | flag.trap | flag.alignment | flag.resume));
  loadRealSegment(processor, segment.cs, handler >>> 16);
  registers.rip = BigInt(handler & 0xffff);
  processor.modeChanged();
}

function readGate(processor: SystemProcessor, number: number, kind: EventKind, external: number): Gate {
  const { registers, linear } = processor;
  const { base, limit } = registers.idtr;
  const code = number * 8 + 2 + external;
  const long = registers.longMode;
  const size = long ? 16 : 8;
  if (number * size + size - 1 > limit) {
    processor.raise(vector.generalProtection, code);
  }
  const at = linearAddress(processor, base + BigInt(number * size));
  const low = linear.readSystem(at, 8);
  const word = Number(low >> 32n);
  const type = (word >>> 8) & 31;
  const isInterruptOrTrap =
    type === systemType.interruptGate ||
    type === systemType.trapGate ||
    (!long && (type === systemType.interruptGate16 || type === systemType.trapGate16));
  // NOTE: a task gate ends here too: this processor has no hardware task switches.
  if (!isInterruptOrTrap) {
    processor.raise(vector.generalProtection, code);
  }
  if (kind === "software" && ((word >>> 13) & 3) < registers.cpl) {
    processor.raise(vector.generalProtection, code);
  }
  if (((word >>> 8) & attribute.present) === 0) {
    processor.raise(vector.segmentNotPresent, code);
  }
  const narrow = type === systemType.interruptGate16 || type === systemType.trapGate16;
  let offset = (low & 0xffffn) | (narrow ? 0n : (low >> 32n) & 0xffff_0000n);
  if (long) {
    offset |= linear.readSystem(at + 8n, 4) << 32n;
  }
  return { selector: Number((low >> 16n) & 0xffffn), offset, type, interruptStack: long ? word & 7 : 0 };
}

function handlerSegment(processor: SystemProcessor, gate: Gate, external: number): Descriptor {
  const code = selectorCode(gate.selector) | external;
  if (selectorCode(gate.selector) === 0) {
    return processor.raise(vector.generalProtection, external);
  }
  const descriptor = findDescriptor(processor, gate.selector);
  if (descriptor === undefined || !isCode(descriptor) || privilegeOf(descriptor) > processor.registers.cpl) {
    return processor.raise(vector.generalProtection, code);
  }
  const widths = descriptor.attributes & (attribute.long | attribute.big);
  if (processor.registers.longMode && widths !== attribute.long) {
    return processor.raise(vector.generalProtection, code);
  }
  if (!isPresent(descriptor)) {
    return processor.raise(vector.segmentNotPresent, code);
  }
  markAccessed(processor, descriptor);
  return descriptor;
}

function deliverLong(
  processor: SystemProcessor,
  gate: Gate,
  target: Descriptor,
  privilege: number,
  external: number,
  flags: number,
  errorCode: number | undefined,
  returnAddress: bigint,
): void {
  const { registers } = processor;
  const inner = !isConforming(target) && privilege < registers.cpl;
  let pointer = registers.read(4);
  if (gate.interruptStack !== 0) {
    pointer = interruptStackOf(processor, gate.interruptStack, external);
  } else if (inner) {
    pointer = stackPointerOf(processor, privilege, external);
  }
  if (!isCanonical(pointer)) {
    processor.raise(vector.stackFault, external);
  }
  if (!isCanonical(gate.offset)) {
    processor.raise(vector.generalProtection, external);
  }
  const stack = StackCursor.long(processor, pointer & ~15n, privilege);
  stack.push(8, BigInt(registers.selector(segment.ss)));
  stack.push(8, registers.read(4));
  stack.push(8, BigInt(flags));
  stack.push(8, BigInt(registers.selector(segment.cs)));
  stack.push(8, returnAddress);
  if (errorCode !== undefined) {
    stack.push(8, BigInt(errorCode));
  }
  registers.write(4, stack.pointer);
  if (inner) {
    registers.writeSegment(segment.ss, nullSegment(privilege));
  }
}

function deliverLegacy(
  processor: SystemProcessor,
  gate: Gate,
  target: Descriptor,
  privilege: number,
  external: number,
  flags: number,
  errorCode: number | undefined,
  returnAddress: bigint,
): void {
  const { registers } = processor;
  const size = gate.type === systemType.interruptGate || gate.type === systemType.trapGate ? 4 : 2;
  const fromVirtual = registers.virtual8086;
  const inner = !isConforming(target) && privilege < registers.cpl;
  if (fromVirtual && (!inner || privilege !== 0)) {
    processor.raise(vector.generalProtection, selectorCode(gate.selector) | external);
  }
  if (gate.offset > BigInt(target.limit)) {
    processor.raise(vector.generalProtection, external);
  }
  const saved = BigInt(flags);
  const frame = (stack: StackCursor) => {
    stack.push(size, saved);
    stack.push(size, BigInt(registers.selector(segment.cs)));
    stack.push(size, returnAddress);
    if (errorCode !== undefined) {
      stack.push(size, BigInt(errorCode));
    }
  };
  if (!inner) {
    const stack = StackCursor.current(processor);
    frame(stack);
    stack.commit();
    return;
  }
  const { stack: stackSegment, pointer } = innerStackOf(processor, privilege, external);
  const stack = StackCursor.other(processor, stackSegment, pointer, privilege);
  if (fromVirtual) {
    for (const index of [segment.gs, segment.fs, segment.ds, segment.es]) {
      stack.push(size, BigInt(registers.selector(index)));
    }
  }
  stack.push(size, BigInt(registers.selector(segment.ss)));
  stack.push(size, registers.read(4) & 0xffff_ffffn);
  frame(stack);
  if (fromVirtual) {
    for (const index of [segment.gs, segment.fs, segment.ds, segment.es]) {
      registers.writeSegment(index, nullSegment(0));
    }
  }
  registers.writeSegment(segment.ss, stackSegment);
  registers.writePart(4, (stackSegment.attributes & attribute.big) !== 0 ? 4 : 2, stack.pointer);
}
