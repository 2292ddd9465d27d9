import { helperResult } from "../operations.ts";
import type { Helpers } from "../processor-interface.ts";
import { flag, vector } from "./architecture.ts";
import { hasErrorCode } from "./guest-fault.ts";
import { Operands } from "./operands.ts";
import type { SystemProcessor } from "./system-processor.ts";

/** INT, INT3, INTO, CLI, STI, HLT, and exceptions that the decoder found. */
export function interruptHelpers(processor: SystemProcessor): Helpers {
  const { registers, core } = processor;
  const operands = new Operands(core);
  const { next, jump, leave } = helperResult;

  const requireIoPrivilege = () => {
    if ((registers.cr0 & 1) !== 0 && registers.cpl > registers.ioPrivilege) {
      processor.raise(vector.generalProtection, 0);
    }
  };

  return {
    "software-interrupt": (operation) => {
      if (registers.virtual8086 && registers.ioPrivilege !== 3) processor.raise(vector.generalProtection, 0);
      const number = operands.immediate(operation) & 0xff;
      processor.deliver(number, "software", undefined, processor.nextInstructionPointer(operation));
      return jump;
    },
    breakpoint: (operation) => {
      processor.deliver(vector.breakpoint, "software", undefined, processor.nextInstructionPointer(operation));
      return jump;
    },
    // INT1: a debug exception that no condition in DR6 explains, without the privilege check of INT n.
    "debug-trap": (operation) => {
      processor.deliver(vector.debug, "exception", undefined, processor.nextInstructionPointer(operation));
      return jump;
    },
    "interrupt-on-overflow": (operation) => {
      const following = processor.nextInstructionPointer(operation);
      if ((processor.readFlags() & flag.overflow) === 0) {
        registers.rip = following;
      } else {
        processor.deliver(vector.overflow, "software", undefined, following);
      }
      return jump;
    },
    raise: (operation) => {
      const number = operands.immediate(operation) & 0xff;
      return hasErrorCode(number) ? processor.raise(number, 0) : processor.raise(number);
    },
    "clear-interrupts": () => {
      requireIoPrivilege();
      registers.systemFlags &= ~flag.interrupt;
      return next;
    },
    "set-interrupts": (operation) => {
      requireIoPrivilege();
      registers.rip = processor.nextInstructionPointer(operation);
      if ((registers.systemFlags & flag.interrupt) === 0) {
        registers.systemFlags |= flag.interrupt;
        processor.setInterruptShadow(1);
      }
      return jump;
    },
    halt: (operation) => {
      if (registers.cpl !== 0) processor.raise(vector.generalProtection, 0);
      registers.rip = processor.nextInstructionPointer(operation);
      processor.halt();
      return leave;
    },
  };
}
