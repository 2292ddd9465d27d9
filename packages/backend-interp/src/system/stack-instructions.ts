import { helperResult } from "../operations.ts";
import type { Helpers } from "../processor-interface.ts";
import { definedFlags, flag, register, vector } from "./architecture.ts";
import { linearAddress } from "./descriptors.ts";
import { Operands } from "./operands.ts";
import { loadSegment } from "./segments.ts";
import { StackCursor } from "./stack.ts";
import type { SystemProcessor } from "./system-processor.ts";

/** PUSH, POP, PUSHA, PUSHF, ENTER and the like. */
export function stackHelpers(processor: SystemProcessor): Helpers {
  const { registers, core, linear } = processor;
  const operands = new Operands(core);
  const { next, jump } = helperResult;

  const push = (size: number, value: bigint): void => {
    const stack = StackCursor.current(processor);
    stack.push(size, value);
    stack.commit();
  };
  const goOn = (operation: number): number => {
    registers.rip = processor.nextInstructionPointer(operation);
    return jump;
  };
  /** In virtual-8086 mode PUSHF and POPF need IOPL 3. */
  const requireIoPrivilege = () => {
    if (registers.virtual8086 && registers.ioPrivilege !== 3) processor.raise(vector.generalProtection, 0);
  };

  return {
    push: (operation) => {
      const size = operands.scale(operation);
      push(size, operands.read(operands.source(operation), size));
      return next;
    },
    pop: (operation) => {
      const size = operands.scale(operation);
      const stack = StackCursor.current(processor);
      const value = stack.pop(size);
      stack.commit();
      operands.write(operands.destination(operation), size, value);
      return next;
    },
    "push-all": (operation) => {
      const size = operands.scale(operation);
      const stack = StackCursor.current(processor);
      const original = registers.read(register.rsp);
      for (let index = 0; index < 8; index++) {
        stack.push(size, index === register.rsp ? original : registers.read(index));
      }
      stack.commit();
      return next;
    },
    "pop-all": (operation) => {
      const size = operands.scale(operation);
      const stack = StackCursor.current(processor);
      const values: bigint[] = [];
      for (let index = 7; index >= 0; index--) {
        values[index] = stack.pop(size);
      }
      stack.commit();
      for (let index = 0; index < 8; index++) {
        if (index !== register.rsp) registers.writePart(index, size, values[index] as bigint);
      }
      return next;
    },
    "push-flags": (operation) => {
      requireIoPrivilege();
      const flags = processor.readFlags() & ~(flag.resume | flag.virtual8086);
      push(operands.scale(operation), BigInt(flags));
      return next;
    },
    "pop-flags": (operation) => {
      requireIoPrivilege();
      const size = operands.scale(operation);
      const stack = StackCursor.current(processor);
      const value = Number(stack.pop(size) & 0xffff_ffffn);
      stack.commit();
      processor.writeFlags(popFlags(processor, value, size));
      return goOn(operation);
    },
    "push-segment": (operation) => {
      const size = operands.scale(operation);
      const selector = BigInt(registers.selector(operands.source(operation)));
      const stack = StackCursor.current(processor);
      // NOTE: with a 32-bit operand size AMD processors clear the upper half of the place, Intel's leave it.
      stack.push(size, selector);
      stack.commit();
      return next;
    },
    "pop-segment": (operation) => {
      const size = operands.scale(operation);
      const stack = StackCursor.current(processor);
      const selector = Number(stack.peek(2));
      stack.skip(size);
      const index = operands.destination(operation);
      const width = processor.mode.stackSize;
      loadSegment(processor, index, selector);
      // NOTE: the pointer goes by the old stack's width even if SS was loaded.
      registers.writePart(register.rsp, width, stack.pointer);
      return goOn(operation);
    },
    enter: (operation) => {
      const size = operands.scale(operation);
      const immediate = operands.immediate(operation);
      const frameSize = immediate & 0xffff;
      const level = (immediate >>> 16) & 31;
      const stack = StackCursor.current(processor);
      const width = processor.mode.stackSize;
      const frame = BigInt.asUintN(8 * width, registers.read(register.rbp));
      stack.push(size, registers.read(register.rbp));
      const framePointer = stack.pointer;
      if (level > 0) {
        const reader = StackCursor.current(processor);
        reader.pointer = frame;
        for (let index = 1; index < level; index++) {
          reader.pointer = BigInt.asUintN(8 * width, reader.pointer - BigInt(size));
          stack.push(size, reader.peek(size));
        }
        stack.push(size, framePointer);
      }
      stack.pointer = BigInt.asUintN(8 * width, stack.pointer - BigInt(frameSize));
      // The new top must be writable: the instruction faults here, not the first push after it.
      const top = StackCursor.current(processor);
      top.pointer = stack.pointer;
      top.probe(size);
      stack.commit();
      registers.writePart(register.rbp, size, framePointer);
      return next;
    },
    leave: (operation) => {
      const size = operands.scale(operation);
      const stack = StackCursor.current(processor);
      stack.pointer = BigInt.asUintN(8 * processor.mode.stackSize, registers.read(register.rbp));
      const value = stack.pop(size);
      stack.commit();
      registers.writePart(register.rbp, size, value);
      return next;
    },
    bound: (operation) => {
      const size = operands.scale(operation) as 2 | 4;
      const address = operands.effectiveAddress;
      const bits = 8 * size;
      const index = BigInt.asIntN(bits, operands.read(operands.source(operation), size));
      const lower = BigInt.asIntN(bits, linear.read(address, size));
      const upper = BigInt.asIntN(bits, linear.read(linearAddress(processor, address + BigInt(size)), size));
      if (index < lower || index > upper) processor.raise(vector.boundRange);
      return next;
    },
  };
}

/** RFLAGS after POPF or a real-mode IRET, from the popped value (Intel SDM Vol. 2B, POPF). */
export function popFlags(processor: SystemProcessor, value: number, size: number): number {
  const { registers } = processor;
  const before = processor.readFlags();
  let changeable =
    definedFlags &
    ~(
      flag.fixed |
      flag.resume |
      flag.virtual8086 |
      flag.virtualInterrupt |
      flag.virtualPending |
      flag.ioPrivilege |
      flag.interrupt
    );
  if (size === 2) {
    changeable &= 0xffff;
  }
  const real = (registers.cr0 & 1) === 0;
  if (real || (registers.cpl === 0 && !registers.virtual8086)) changeable |= flag.ioPrivilege;
  if (real || registers.cpl <= registers.ioPrivilege) changeable |= flag.interrupt;
  return (before & ~(changeable | flag.resume)) | (value & changeable) | flag.fixed;
}
