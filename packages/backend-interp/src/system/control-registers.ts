import { helperResult } from "../operations.ts";
import type { Helpers } from "../processor-interface.ts";
import { attribute, cr0, cr4, efer, physicalAddressBits, segment, systemType, vector } from "./architecture.ts";
import type { ProcessorFeatures } from "./cpu-model.ts";
import { Operands } from "./operands.ts";
import type { SystemProcessor } from "./system-processor.ts";

const implementedCr0 =
  (cr0.protection |
    cr0.monitor |
    cr0.emulation |
    cr0.taskSwitched |
    cr0.extensionType |
    cr0.numericError |
    cr0.writeProtect |
    cr0.alignment |
    cr0.notWriteThrough |
    cr0.cacheDisable |
    cr0.paging) >>>
  0;

/** Bits of CR4 that may be set. */
export function implementedCr4(features: ProcessorFeatures): number {
  return (
    cr4.timeStampDisable |
    cr4.debuggingExtensions |
    cr4.pageSize |
    cr4.physicalAddressExtension |
    cr4.machineCheck |
    cr4.pageGlobal |
    cr4.performanceCounter |
    cr4.fxsave |
    cr4.simdExceptions |
    (features.userModeInstructionPrevention ? cr4.userModeInstructionPrevention : 0) |
    (features.fsgsbase ? cr4.fsgsbase : 0) |
    (features.xsave ? cr4.xsave : 0) |
    (features.supervisorExecutionPrevention ? cr4.supervisorExecution : 0)
  );
}

/** Why a combination of CR0, CR4 and EFER cannot be, or undefined. EFER.LMA is left out of account. */
export function controlConflict(
  control0: bigint,
  control4: bigint,
  extended: number,
  features: ProcessorFeatures,
): string | undefined {
  if (control0 >> 32n !== 0n) return "CR0 has reserved bits set";
  const low = Number(control0);
  if ((low & cr0.paging) !== 0 && (low & cr0.protection) === 0) return "CR0.PG is set without CR0.PE";
  if ((low & cr0.notWriteThrough) !== 0 && (low & cr0.cacheDisable) === 0) return "CR0.NW is set without CR0.CD";
  if ((control4 & ~BigInt(implementedCr4(features))) !== 0n) return "CR4 has bits set that this CPU model lacks";
  const long = (low & cr0.paging) !== 0 && (extended & efer.longModeEnable) !== 0;
  if (long && (Number(control4) & cr4.physicalAddressExtension) === 0) return "long mode is on without CR4.PAE";
  return undefined;
}

/** Changes of CR0 and CR4 that change translations. */
const pagingCr0 = (cr0.paging | cr0.writeProtect | cr0.protection) >>> 0;
const pagingCr4 = cr4.pageSize | cr4.physicalAddressExtension | cr4.pageGlobal | cr4.supervisorExecution;

/** MOV to and from control registers, LMSW, CLTS, INVLPG (Intel SDM Vol. 3A §2.5, §10.8.5 for long mode). */
export function controlRegisterHelpers(processor: SystemProcessor): Helpers {
  const { registers, core } = processor;
  const operands = new Operands(core);
  const { next, jump } = helperResult;

  const requirePrivilege0 = () => {
    if (registers.cpl !== 0 || registers.virtual8086) processor.raise(vector.generalProtection, 0);
  };
  const fault = (): never => processor.raise(vector.generalProtection, 0);
  const goOn = (operation: number): number => {
    registers.rip = processor.nextInstructionPointer(operation);
    return jump;
  };

  const writeCr0 = (value: bigint): void => {
    if (controlConflict(value, BigInt(registers.cr4), registers.efer, processor.features) !== undefined) fault();
    const before = registers.cr0;
    const after = ((Number(value) & implementedCr0) | cr0.extensionType) >>> 0;
    const changed = before ^ after;
    let extended = registers.efer;
    if ((changed & cr0.paging) !== 0) {
      const longCode = (registers.segmentAttributes(segment.cs) & attribute.long) !== 0;
      if ((after & cr0.paging) !== 0) {
        if ((extended & efer.longModeEnable) !== 0) {
          const type = registers.segmentAttributes(segment.tr) & 15;
          if (longCode || (!registers.segmentUnusable(segment.tr) && type === systemType.tss16Busy)) fault();
          extended |= efer.longModeActive;
        }
      } else {
        if ((extended & efer.longModeActive) !== 0 && longCode) fault();
        extended &= ~efer.longModeActive;
      }
    }
    if ((after & cr0.paging) !== 0 && (changed & (cr0.paging | cr0.cacheDisable | cr0.notWriteThrough)) !== 0) {
      checkDirectoryPointers(processor, registers.cr3, registers.cr4, extended);
    }
    registers.cr0 = after;
    registers.efer = extended;
    if ((changed & pagingCr0) !== 0) processor.flushTranslations(false);
    processor.modeChanged();
  };

  const writeCr3 = (value: bigint): void => {
    if (registers.longMode && value >> BigInt(physicalAddressBits) !== 0n) fault();
    if ((registers.cr0 & cr0.paging) !== 0) {
      checkDirectoryPointers(processor, value, registers.cr4, registers.efer);
    }
    registers.cr3 = value;
    processor.flushTranslations(true);
  };

  const writeCr4 = (value: bigint): void => {
    if (controlConflict(BigInt(registers.cr0), value, registers.efer, processor.features) !== undefined) fault();
    const before = registers.cr4;
    const after = Number(value);
    const changed = before ^ after;
    if (
      (registers.cr0 & cr0.paging) !== 0 &&
      (changed & (cr4.physicalAddressExtension | cr4.pageSize | cr4.pageGlobal)) !== 0
    ) {
      checkDirectoryPointers(processor, registers.cr3, after, registers.efer);
    }
    registers.cr4 = after;
    if ((changed & pagingCr4) !== 0) processor.flushTranslations(false);
    if ((changed & cr4.debuggingExtensions) !== 0) processor.breakpointsChanged();
    processor.modeChanged();
  };

  return {
    "read-control-register": (operation) => {
      requirePrivilege0();
      let value: bigint;
      switch (operands.source(operation)) {
        case 0:
          value = BigInt(registers.cr0);
          break;
        case 2:
          value = registers.cr2;
          break;
        case 3:
          value = registers.cr3;
          break;
        case 4:
          value = BigInt(registers.cr4);
          break;
        case 8:
          value = BigInt(processor.interrupts?.taskPriority ?? 0);
          break;
        default:
          return processor.raise(vector.invalidOpcode);
      }
      operands.write(operands.destination(operation), processor.mode.long ? 8 : 4, value);
      return next;
    },
    "write-control-register": (operation) => {
      requirePrivilege0();
      const value = operands.read(operands.source(operation), processor.mode.long ? 8 : 4);
      switch (operands.destination(operation)) {
        case 0:
          writeCr0(value);
          break;
        case 2:
          registers.cr2 = value;
          break;
        case 3:
          writeCr3(value);
          break;
        case 4:
          writeCr4(value);
          break;
        case 8:
          if (value > 15n) fault();
          if (processor.interrupts !== undefined) {
            processor.interrupts.taskPriority = Number(value);
            processor.forceReturn();
          }
          break;
        default:
          processor.raise(vector.invalidOpcode);
      }
      return goOn(operation);
    },
    "load-machine-status": (operation) => {
      requirePrivilege0();
      const status = operands.word(operands.source(operation));
      // NOTE: LMSW can set PE but not clear it.
      const value = (registers.cr0 & ~0xe) | (status & 0xf);
      writeCr0(BigInt(value >>> 0));
      return goOn(operation);
    },
    "store-machine-status": (operation) => {
      if (registers.cpl !== 0 && (registers.cr4 & cr4.userModeInstructionPrevention) !== 0) fault();
      const destination = operands.destination(operation);
      const value = BigInt(registers.cr0);
      if (destination === 0) processor.linear.write(operands.effectiveAddress, 2, value & 0xffffn);
      else operands.write(destination, operands.scale(operation), value);
      return next;
    },
    "clear-task-switched": (operation) => {
      requirePrivilege0();
      registers.cr0 = registers.cr0 & ~cr0.taskSwitched;
      processor.modeChanged();
      return goOn(operation);
    },
    "invalidate-page": (operation) => {
      requirePrivilege0();
      processor.invalidatePage(operands.effectiveAddress);
      return goOn(operation);
    },
    // INVPCID is not among this CPU's features.
    "invalidate-process-context": () => processor.raise(vector.invalidOpcode),
    "invalidate-caches": () => {
      requirePrivilege0();
      return next;
    },
  };
}

/** A page directory pointer with reserved bits faults when CR3 is loaded, not when it is used (Intel SDM Vol. 3A §4.4.1). */
function checkDirectoryPointers(
  processor: SystemProcessor,
  control3: bigint,
  control4: number,
  extended: number,
): void {
  if ((control4 & cr4.physicalAddressExtension) === 0 || (extended & efer.longModeActive) !== 0) return;
  const table = Number(control3 & 0xffff_ffe0n);
  for (let index = 0; index < 4; index++) {
    const low = processor.physical.readDword(table + index * 8);
    const high = processor.physical.readDword(table + index * 8 + 4);
    if ((low & 1) !== 0 && ((low & 0x1e6) !== 0 || high >>> (physicalAddressBits - 32) !== 0)) {
      processor.raise(vector.generalProtection, 0);
    }
  }
}
