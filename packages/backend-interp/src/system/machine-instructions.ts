import { supportedXcr0 } from "../float/index.ts";
import { xcr0At } from "../layout.ts";
import { helperResult } from "../operations.ts";
import type { Helpers } from "../processor-interface.ts";
import { arithmeticFlags, cr4, flag, register, vector } from "./architecture.ts";
import { cpuid } from "./cpu-model.ts";
import { storeFlags } from "./flags.ts";
import { msr } from "./msr.ts";
import { Operands } from "./operands.ts";
import type { SystemProcessor } from "./system-processor.ts";

/** Why a value cannot be in XCR0, or undefined (Intel SDM Vol. 1 §13.3). */
export function xcr0Conflict(value: bigint): string | undefined {
  return (value & 1n) === 0n || (value & ~supportedXcr0) !== 0n
    ? "XCR0 lacks x87 or has unknown components"
    : undefined;
}

/** MSRs, CPUID, the time-stamp counter, XCR0, random numbers, debug registers. */
export function machineHelpers(processor: SystemProcessor): Helpers {
  const { registers, core, modelRegisters } = processor;
  const operands = new Operands(core);
  const { next, jump } = helperResult;
  const random = new BigUint64Array(1);

  const requirePrivilege0 = () => {
    if (registers.cpl !== 0) processor.raise(vector.generalProtection, 0);
  };
  const goOn = (operation: number): number => {
    registers.rip = processor.nextInstructionPointer(operation);
    return jump;
  };
  const setPair = (value: bigint): void => {
    registers.write(register.rax, value & 0xffff_ffffn);
    registers.write(register.rdx, value >> 32n);
  };
  const pair = (): bigint => (BigInt(registers.low(register.rdx)) << 32n) | BigInt(registers.low(register.rax));
  const readTimeStamp = (): void => {
    if ((registers.cr4 & cr4.timeStampDisable) !== 0 && registers.cpl !== 0) {
      processor.raise(vector.generalProtection, 0);
    }
    setPair(processor.timeStamp.read());
  };

  /** DR4 and DR5 are DR6 and DR7, unless CR4.DE is set: then they do not exist. */
  const debugRegister = (number: number): number => {
    if (number === 4 || number === 5) {
      if ((registers.cr4 & cr4.debuggingExtensions) !== 0) processor.raise(vector.invalidOpcode);
      return number + 2;
    }
    return number;
  };

  return {
    "read-msr": () => {
      requirePrivilege0();
      const value = modelRegisters.read(registers.low(register.rcx));
      if (value === undefined) return processor.raise(vector.generalProtection, 0);
      setPair(value);
      return next;
    },
    "write-msr": (operation) => {
      requirePrivilege0();
      if (!modelRegisters.write(registers.low(register.rcx), pair())) processor.raise(vector.generalProtection, 0);
      return goOn(operation);
    },
    "read-tsc": () => {
      readTimeStamp();
      return next;
    },
    "read-tsc-and-processor": () => {
      readTimeStamp();
      registers.write(register.rcx, modelRegisters.tscAux & 0xffff_ffffn);
      return next;
    },
    // There are no performance counters.
    "read-performance-counter": () => processor.raise(vector.generalProtection, 0),
    cpuid: () => {
      const apicBase = modelRegisters.read(msr.apicBase) ?? 0n;
      const [eax, ebx, ecx, edx] = cpuid(processor.features, registers.low(register.rax), registers.low(register.rcx), {
        apicEnabled: (apicBase & 0x800n) !== 0n,
        osXsave: (registers.cr4 & cr4.xsave) !== 0,
      });
      registers.writeLow(register.rax, eax);
      registers.writeLow(register.rbx, ebx);
      registers.writeLow(register.rcx, ecx);
      registers.writeLow(register.rdx, edx);
      return next;
    },
    "read-xcr": () => {
      requireXsave();
      if (registers.low(register.rcx) !== 0) processor.raise(vector.generalProtection, 0);
      setPair(core.u64[xcr0At >> 3] as bigint);
      return next;
    },
    "write-xcr": (operation) => {
      requireXsave();
      requirePrivilege0();
      const value = pair();
      if (registers.low(register.rcx) !== 0 || xcr0Conflict(value) !== undefined) {
        processor.raise(vector.generalProtection, 0);
      }
      core.u64[xcr0At >> 3] = value;
      return goOn(operation);
    },
    "read-random": (operation) => {
      // RDSEED, which is the form with source 1, is not among this CPU's features.
      if (!processor.features.random || operands.source(operation) !== 0) processor.raise(vector.invalidOpcode);
      crypto.getRandomValues(random);
      operands.write(operands.destination(operation), operands.scale(operation), random[0] as bigint);
      storeFlags(core.u32, (processor.readFlags() & ~arithmeticFlags) | flag.carry);
      return next;
    },
    // MONITOR and MWAIT are not among this CPU's features.
    monitor: () => processor.raise(vector.invalidOpcode),
    "monitor-wait": () => processor.raise(vector.invalidOpcode),
    pause: () => {
      processor.pause();
      return next;
    },
    "read-debug-register": (operation) => {
      requirePrivilege0();
      const number = debugRegister(operands.source(operation));
      checkGeneralDetect();
      operands.write(operands.destination(operation), processor.mode.long ? 8 : 4, registers.debug(number));
      return next;
    },
    "write-debug-register": (operation) => {
      requirePrivilege0();
      const number = debugRegister(operands.destination(operation));
      checkGeneralDetect();
      const value = operands.read(operands.source(operation), processor.mode.long ? 8 : 4);
      if (number >= 6 && value >> 32n !== 0n) processor.raise(vector.generalProtection, 0);
      registers.setDebug(number, number === 6 ? debugStatus(value) : number === 7 ? debugControl(value) : value);
      processor.breakpointsChanged();
      return goOn(operation);
    },
  };

  function requireXsave(): void {
    if ((registers.cr4 & cr4.xsave) === 0) processor.raise(vector.invalidOpcode);
  }

  /** DR7.GD: an access to the debug registers is a debug exception itself. */
  function checkGeneralDetect(): void {
    const control = registers.debug(7);
    if ((control & 0x2000n) !== 0n) {
      registers.setDebug(7, control & ~0x2000n);
      registers.setDebug(6, registers.debug(6) | 0x2000n);
      processor.raise(vector.debug);
    }
  }
}

/** DR6 and DR7 with their fixed bits (Intel SDM Vol. 3B §18.2). */
export function debugStatus(value: bigint): bigint {
  return (value & 0xe00fn) | 0xffff_0ff0n;
}
export function debugControl(value: bigint): bigint {
  return (value & 0xffff_2bffn) | 0x400n;
}
