import { helperResult } from "../operations.ts";
import type { Helpers } from "../processor-interface.ts";
import { definedFlags, flag, register, segment, vector } from "./architecture.ts";
import { realSegment } from "./descriptors.ts";
import { checkTarget, enterCode, enterStack, returnStack, returnTarget } from "./far-transfers.ts";
import { Operands } from "./operands.ts";
import { dropInnerSegments, loadRealSegment } from "./segments.ts";
import { StackCursor } from "./stack.ts";
import { popFlags } from "./stack-instructions.ts";
import type { SystemProcessor } from "./system-processor.ts";

/** RFLAGS after IRET in protected mode: what may change goes by the privilege of the code that returns. */
function returnFlags(processor: SystemProcessor, popped: number, size: number): number {
  const { registers } = processor;
  let changeable =
    definedFlags &
    ~(flag.fixed | flag.virtual8086 | flag.virtualInterrupt | flag.virtualPending | flag.ioPrivilege | flag.interrupt);
  if (registers.cpl <= registers.ioPrivilege) changeable |= flag.interrupt;
  if (registers.cpl === 0) changeable |= flag.ioPrivilege | flag.virtualInterrupt | flag.virtualPending;
  if (size === 2) changeable &= 0xffff;
  return (processor.readFlags() & ~changeable) | (popped & changeable) | flag.fixed;
}

/** IRET (Intel SDM Vol. 2A). A return by hardware task switch (NT set) is refused with #GP. */
export function interruptReturnHelpers(processor: SystemProcessor): Helpers {
  const { registers, core } = processor;
  const operands = new Operands(core);
  const { jump } = helperResult;

  const returnReal = (size: number): void => {
    if (registers.virtual8086 && registers.ioPrivilege !== 3) {
      processor.raise(vector.generalProtection, 0);
    }
    const stack = StackCursor.current(processor);
    const offset = stack.pop(size);
    const selector = Number(stack.pop(size) & 0xffffn);
    const popped = Number(stack.pop(size) & 0xffff_ffffn);
    if (offset > 0xffffn) processor.raise(vector.generalProtection, 0);
    stack.commit();
    const flags = popFlags(processor, popped, size);
    loadRealSegment(processor, segment.cs, selector);
    registers.rip = offset;
    processor.writeFlags(flags);
    processor.modeChanged();
  };

  /** Back into virtual-8086 mode (Intel SDM Vol. 3B §20.2.5). */
  const returnVirtual = (stack: StackCursor, offset: bigint, selector: number, popped: number): void => {
    const pointer = stack.pop(4);
    const selectors = [segment.ss, segment.es, segment.ds, segment.fs, segment.gs].map(
      (index) => [index, Number(stack.pop(4) & 0xffffn)] as const,
    );
    for (const [index, value] of [[segment.cs, selector] as const, ...selectors]) {
      registers.writeSegment(index, realSegment(value, false, 3));
    }
    registers.writeLow(register.rsp, Number(pointer & 0xffff_ffffn));
    registers.rip = offset & 0xffffn;
    processor.setPrivilege(3);
    processor.writeFlags((popped & definedFlags) | flag.fixed);
    processor.modeChanged();
  };

  return {
    "interrupt-return": (operation) => {
      const size = operands.scale(operation);
      processor.unmaskNmi();
      if (!registers.protectedMode) {
        returnReal(size);
        return jump;
      }
      if ((registers.systemFlags & flag.nestedTask) !== 0) {
        processor.raise(vector.generalProtection, 0);
      }
      const stack = StackCursor.current(processor);
      const offset = stack.pop(size);
      const selector = Number(stack.pop(size) & 0xffffn);
      const popped = Number(stack.pop(size) & 0xffff_ffffn);
      if (!registers.longMode && (popped & flag.virtual8086) !== 0 && registers.cpl === 0 && size === 4) {
        returnVirtual(stack, offset, selector, popped);
        return jump;
      }
      const target = returnTarget(processor, selector);
      const level = selector & 3;
      const outward = level !== registers.cpl;
      if (!outward && !processor.mode.long) {
        checkTarget(processor, target, offset);
        const flags = returnFlags(processor, popped, size);
        stack.commit();
        enterCode(processor, target, level, offset);
        processor.writeFlags(flags);
        return jump;
      }
      const pointer = stack.pop(size);
      const stackSelector = Number(stack.pop(size) & 0xffffn);
      const outer = returnStack(processor, stackSelector, target, level);
      checkTarget(processor, target, offset);
      const flags = returnFlags(processor, popped, size);
      enterCode(processor, target, level, offset);
      enterStack(processor, outer, stackSelector, pointer);
      if (outward) dropInnerSegments(processor, level);
      processor.writeFlags(flags);
      processor.modeChanged();
      return jump;
    },
  };
}
