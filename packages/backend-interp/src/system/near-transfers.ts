import { registersAt } from "../layout.ts";
import { helperResult } from "../operations.ts";
import type { Helpers } from "../processor-interface.ts";
import { flag, register, segment, vector } from "./architecture.ts";
import { isCanonical } from "./descriptors.ts";
import { conditionHolds } from "./flags.ts";
import { Operands } from "./operands.ts";
import { StackCursor } from "./stack.ts";
import type { SystemProcessor } from "./system-processor.ts";

/** Raises #GP(0) if an instruction pointer lies outside the code segment, or is not canonical in 64-bit mode. */
export function checkCodeOffset(processor: SystemProcessor, offset: bigint): void {
  const { registers } = processor;
  const outside = processor.mode.long ? !isCanonical(offset) : offset > BigInt(registers.segmentLimit(segment.cs));
  if (outside) {
    processor.raise(vector.generalProtection, 0);
  }
}

/** The near calls, returns, jumps and loops that are not operations of the core: all outside 64-bit mode, odd sizes in it. */
export function nearTransferHelpers(processor: SystemProcessor): Helpers {
  const { registers, core } = processor;
  const operands = new Operands(core);
  const { jump } = helperResult;
  const counter = registersAt + register.rcx * 8;

  /** Address of a relative branch's target, cut to the operand size. */
  const target = (operation: number): bigint =>
    BigInt.asUintN(
      8 * operands.scale(operation),
      processor.blockInstructionPointer() + operands.wideImmediate(operation),
    );
  const go = (offset: bigint): number => {
    registers.rip = offset;
    return jump;
  };
  const call = (operation: number, offset: bigint): number => {
    checkCodeOffset(processor, offset);
    const stack = StackCursor.current(processor);
    stack.push(operands.scale(operation), processor.nextInstructionPointer(operation));
    stack.commit();
    return go(offset);
  };

  return {
    "call-near": (operation) => call(operation, target(operation)),
    "call-indirect": (operation) =>
      call(operation, operands.read(operands.source(operation), operands.scale(operation))),
    "jump-indirect": (operation) => {
      const offset = operands.read(operands.source(operation), operands.scale(operation));
      checkCodeOffset(processor, offset);
      return go(offset);
    },
    "jump-near": (operation) => {
      const offset = target(operation);
      checkCodeOffset(processor, offset);
      return go(offset);
    },
    "return-near": (operation) => {
      const stack = StackCursor.current(processor);
      const offset = stack.pop(operands.scale(operation));
      checkCodeOffset(processor, offset);
      stack.skip(operands.immediate(operation) & 0xffff);
      stack.commit();
      return go(offset);
    },
    loop: (operation) => {
      const size = operands.destination(operation);
      const condition = operands.source(operation);
      let count = operands.read(counter, size);
      let taken: boolean;
      if (condition === 3) {
        taken = count === 0n;
      } else {
        count = BigInt.asUintN(8 * size, count - 1n);
        const zero = (processor.readFlags() & flag.zero) !== 0;
        taken = count !== 0n && (condition === 2 || (condition === 1) === zero);
      }
      const offset = taken ? target(operation) : processor.nextInstructionPointer(operation);
      if (taken) checkCodeOffset(processor, offset);
      if (condition !== 3) operands.write(counter, size, count);
      return go(offset);
    },
    "jump-if-near": (operation) => {
      if (!conditionHolds(processor.readFlags(), operands.source(operation))) {
        return go(processor.nextInstructionPointer(operation));
      }
      const offset = target(operation);
      checkCodeOffset(processor, offset);
      return go(offset);
    },
  };
}
