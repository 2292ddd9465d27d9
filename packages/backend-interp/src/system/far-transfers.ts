import { helperResult } from "../operations.ts";
import type { Helpers } from "../processor-interface.ts";
import { attribute, register, segment, systemType, vector } from "./architecture.ts";
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
  readDescriptor,
  readUpperBase,
  segmentOf,
  selectorCode,
  systemTypeOf,
} from "./descriptors.ts";
import { Operands } from "./operands.ts";
import { checkStackDescriptor, dropInnerSegments, loadRealSegment } from "./segments.ts";
import { StackCursor } from "./stack.ts";
import type { SystemProcessor } from "./system-processor.ts";
import { innerStackOf, stackPointerOf } from "./task-state.ts";

/** Raises #GP if an offset does not lie in a code segment, or is not canonical in a 64-bit one. */
export function checkTarget(processor: SystemProcessor, target: Descriptor, offset: bigint): void {
  const long = processor.registers.longMode && (target.attributes & attribute.long) !== 0;
  if (long ? !isCanonical(offset) : offset > BigInt(target.limit)) {
    processor.raise(vector.generalProtection, 0);
  }
}

/** #GP for a code segment that is both 64-bit and 32-bit, which means nothing. */
function checkWidths(processor: SystemProcessor, target: Descriptor): void {
  const widths = attribute.long | attribute.big;
  if (processor.registers.longMode && (target.attributes & widths) === widths) {
    processor.raise(vector.generalProtection, selectorCode(target.selector));
  }
}

/** Loads CS, with CPL as its RPL, and RIP. Cannot fault. */
export function enterCode(processor: SystemProcessor, target: Descriptor, privilege: number, offset: bigint): void {
  const { registers } = processor;
  registers.writeSegment(segment.cs, { ...segmentOf(target), selector: selectorCode(target.selector) | privilege });
  processor.setPrivilege(privilege);
  registers.rip = offset;
  processor.modeChanged();
}

/** The code segment that RETF and IRET go back to, checked against its RPL, which becomes CPL. */
export function returnTarget(processor: SystemProcessor, selector: number): Descriptor {
  const target = readDescriptor(processor, selector);
  const code = selectorCode(selector);
  const level = selector & 3;
  const privilege = privilegeOf(target);
  const allowed =
    level >= processor.registers.cpl &&
    isCode(target) &&
    (isConforming(target) ? privilege <= level : privilege === level);
  if (!allowed) processor.raise(vector.generalProtection, code);
  checkWidths(processor, target);
  if (!isPresent(target)) processor.raise(vector.segmentNotPresent, code);
  markAccessed(processor, target);
  return target;
}

/** The stack that a return to an outer level finds. A null SS is right for 64-bit code below privilege 3. */
export function returnStack(
  processor: SystemProcessor,
  selector: number,
  target: Descriptor,
  level: number,
): Descriptor | undefined {
  if (selectorCode(selector) === 0) {
    const long = processor.registers.longMode && (target.attributes & attribute.long) !== 0;
    if (!long || level === 3 || (selector & 3) !== level) {
      processor.raise(vector.generalProtection, 0);
    }
    return undefined;
  }
  const stack = readDescriptor(processor, selector);
  checkStackDescriptor(processor, stack, level);
  markAccessed(processor, stack);
  return stack;
}

/** Loads SS (null if there is no descriptor) and RSP of the outer stack, once CS is loaded. */
export function enterStack(
  processor: SystemProcessor,
  stack: Descriptor | undefined,
  selector: number,
  pointer: bigint,
): void {
  const { registers } = processor;
  if (stack === undefined) {
    registers.writeSegment(segment.ss, nullSegment(selector));
  } else {
    registers.writeSegment(segment.ss, segmentOf(stack));
  }
  if (registers.mode64) registers.write(register.rsp, pointer);
  else
    registers.writePart(register.rsp, (registers.segmentAttributes(segment.ss) & attribute.big) !== 0 ? 4 : 2, pointer);
}

/** Far jumps, calls and returns (Intel SDM Vol. 2A: CALL, JMP, RET). Hardware task switches are refused with #GP. */
export function farTransferHelpers(processor: SystemProcessor): Helpers {
  const { registers, core, linear } = processor;
  const operands = new Operands(core);
  const { jump } = helperResult;

  const transfer = (operation: number, selector: number, offset: bigint, call: boolean): number => {
    const size = operands.scale(operation);
    const next = processor.nextInstructionPointer(operation);
    if (!registers.protectedMode) {
      if (offset > 0xffffn) processor.raise(vector.generalProtection, 0);
      if (call) {
        const stack = StackCursor.current(processor);
        stack.push(size, BigInt(registers.selector(segment.cs)));
        stack.push(size, next);
        stack.commit();
      }
      loadRealSegment(processor, segment.cs, selector);
      registers.rip = offset;
      processor.modeChanged();
      return jump;
    }
    const target = readDescriptor(processor, selector);
    const code = selectorCode(selector);
    const { cpl } = registers;
    if (!isCode(target)) {
      gate(target, next, call);
      return jump;
    }
    const allowed = isConforming(target)
      ? privilegeOf(target) <= cpl
      : (selector & 3) <= cpl && privilegeOf(target) === cpl;
    if (!allowed) processor.raise(vector.generalProtection, code);
    checkWidths(processor, target);
    if (!isPresent(target)) processor.raise(vector.segmentNotPresent, code);
    checkTarget(processor, target, offset);
    markAccessed(processor, target);
    if (call) {
      const stack = StackCursor.current(processor);
      stack.push(size, BigInt(registers.selector(segment.cs)));
      stack.push(size, next);
      stack.commit();
    }
    enterCode(processor, target, cpl, offset);
    return jump;
  };

  /** A call gate; task gates and task state segments are refused. */
  const gate = (descriptor: Descriptor, next: bigint, call: boolean): void => {
    const { cpl, longMode } = registers;
    const { selector } = descriptor;
    const type = systemTypeOf(descriptor);
    if (type !== systemType.callGate && (longMode || type !== systemType.callGate16)) {
      processor.raise(vector.generalProtection, selectorCode(selector));
    }
    if (privilegeOf(descriptor) < Math.max(cpl, selector & 3)) {
      processor.raise(vector.generalProtection, selectorCode(selector));
    }
    const upper = longMode ? readUpperBase(processor, descriptor) : 0n;
    if (!isPresent(descriptor)) processor.raise(vector.segmentNotPresent, selectorCode(selector));
    const size = longMode ? 8 : type === systemType.callGate ? 4 : 2;
    const low = (descriptor.low & 0xffff) | (size === 2 ? 0 : descriptor.high & 0xffff_0000);
    const offset = (upper << 32n) | BigInt(low >>> 0);
    const codeSelector = descriptor.low >>> 16;
    if (selectorCode(codeSelector) === 0) processor.raise(vector.generalProtection, 0);
    const target = findDescriptor(processor, codeSelector);
    const code = selectorCode(codeSelector);
    if (target === undefined || !isCode(target) || privilegeOf(target) > cpl) {
      throw processor.raise(vector.generalProtection, code);
    }
    if (longMode && (target.attributes & (attribute.long | attribute.big)) !== attribute.long) {
      processor.raise(vector.generalProtection, code);
    }
    if (!isPresent(target)) processor.raise(vector.segmentNotPresent, code);
    const inner = !isConforming(target) && privilegeOf(target) < cpl;
    if (inner && !call) processor.raise(vector.generalProtection, code);
    checkTarget(processor, target, offset);
    markAccessed(processor, target);
    if (!inner) {
      if (call) {
        const stack = StackCursor.current(processor);
        stack.push(size, BigInt(registers.selector(segment.cs)));
        stack.push(size, next);
        stack.commit();
      }
      enterCode(processor, target, cpl, offset);
      return;
    }
    const privilege = privilegeOf(target);
    const oldSelector = BigInt(registers.selector(segment.ss));
    const oldPointer = registers.read(register.rsp);
    if (longMode) {
      const stack = StackCursor.long(processor, stackPointerOf(processor, privilege, 0), privilege);
      stack.push(8, oldSelector);
      stack.push(8, oldPointer);
      stack.push(8, BigInt(registers.selector(segment.cs)));
      stack.push(8, next);
      registers.write(register.rsp, stack.pointer);
      registers.writeSegment(segment.ss, nullSegment(privilege));
    } else {
      const { stack: stackSegment, pointer } = innerStackOf(processor, privilege, 0);
      const stack = StackCursor.other(processor, stackSegment, pointer, privilege);
      const outer = StackCursor.current(processor);
      stack.push(size, oldSelector);
      stack.push(size, oldPointer & 0xffff_ffffn);
      for (let index = (descriptor.high & 31) - 1; index >= 0; index--) {
        stack.push(size, outer.peek(size, index * size));
      }
      stack.push(size, BigInt(registers.selector(segment.cs)));
      stack.push(size, next);
      registers.writeSegment(segment.ss, stackSegment);
      registers.writePart(register.rsp, (stackSegment.attributes & attribute.big) !== 0 ? 4 : 2, stack.pointer);
    }
    enterCode(processor, target, privilege, offset);
  };

  /** The far pointer in memory: offset, then selector. */
  const pointerInMemory = (operation: number): { selector: number; offset: bigint } => {
    const size = operands.scale(operation);
    const address = operands.effectiveAddress;
    const offset = linear.read(address, size);
    return { selector: Number(linear.read(linearAddress(processor, address + BigInt(size)), 2)), offset };
  };
  const pointerInInstruction = (operation: number): { selector: number; offset: bigint } => {
    const value = BigInt.asUintN(64, operands.wideImmediate(operation));
    return { selector: Number((value >> 32n) & 0xffffn), offset: value & 0xffff_ffffn };
  };

  return {
    "jump-far": (operation) => {
      const { selector, offset } = pointerInInstruction(operation);
      return transfer(operation, selector, offset, false);
    },
    "call-far": (operation) => {
      const { selector, offset } = pointerInInstruction(operation);
      return transfer(operation, selector, offset, true);
    },
    "jump-far-memory": (operation) => {
      const { selector, offset } = pointerInMemory(operation);
      return transfer(operation, selector, offset, false);
    },
    "call-far-memory": (operation) => {
      const { selector, offset } = pointerInMemory(operation);
      return transfer(operation, selector, offset, true);
    },
    "return-far": (operation) => {
      const size = operands.scale(operation);
      const release = operands.immediate(operation) & 0xffff;
      const stack = StackCursor.current(processor);
      const offset = stack.pop(size);
      const selector = Number(stack.pop(size) & 0xffffn);
      if (!registers.protectedMode) {
        if (offset > 0xffffn) processor.raise(vector.generalProtection, 0);
        stack.skip(release);
        stack.commit();
        loadRealSegment(processor, segment.cs, selector);
        registers.rip = offset;
        processor.modeChanged();
        return jump;
      }
      const target = returnTarget(processor, selector);
      const level = selector & 3;
      if (level === registers.cpl) {
        checkTarget(processor, target, offset);
        stack.skip(release);
        stack.commit();
        enterCode(processor, target, level, offset);
        return jump;
      }
      stack.skip(release);
      const pointer = stack.pop(size);
      const stackSelector = Number(stack.pop(size) & 0xffffn);
      const outer = returnStack(processor, stackSelector, target, level);
      checkTarget(processor, target, offset);
      enterCode(processor, target, level, offset);
      enterStack(processor, outer, stackSelector, pointer);
      const width = registers.mode64 ? 8 : (registers.segmentAttributes(segment.ss) & attribute.big) !== 0 ? 4 : 2;
      registers.writePart(register.rsp, width, registers.read(register.rsp) + BigInt(release));
      dropInnerSegments(processor, level);
      processor.modeChanged();
      return jump;
    },
  };
}
