import { cstarAt, fmaskAt, lstarAt, starAt } from "../layout.ts";
import { helperResult } from "../operations.ts";
import type { Helpers } from "../processor-interface.ts";
import { attribute, definedFlags, efer, flag, register, segment, vector } from "./architecture.ts";
import { Operands } from "./operands.ts";
import type { SegmentValue } from "./registers.ts";
import type { SystemProcessor } from "./system-processor.ts";

/** Code and stack segments as SYSCALL and SYSENTER load them without reading a descriptor. */
function flatCode(selector: number, privilege: number, long: boolean): SegmentValue {
  const width = long ? attribute.long : attribute.big;
  return {
    selector,
    base: 0n,
    limit: 0xffff_ffff,
    attributes: attribute.granular | width | attribute.present | (privilege << 5) | 0x1b,
    unusable: false,
  };
}
function flatStack(selector: number, privilege: number): SegmentValue {
  return {
    selector,
    base: 0n,
    limit: 0xffff_ffff,
    attributes: attribute.granular | attribute.big | attribute.present | (privilege << 5) | 0x13,
    unusable: false,
  };
}

const r11 = 11;

/** The fast system calls as AMD defines them (APM Vol. 3): SYSCALL also outside long mode, SYSENTER only there. */
export function systemCallHelpers(processor: SystemProcessor): Helpers {
  const { registers, core } = processor;
  const operands = new Operands(core);
  const { jump } = helperResult;
  const u64 = (address: number): bigint => core.u64[address >> 3] as bigint;

  const enter = (code: SegmentValue, stack: SegmentValue, privilege: number, rip: bigint): number => {
    registers.writeSegment(segment.cs, code);
    registers.writeSegment(segment.ss, stack);
    processor.setPrivilege(privilege);
    registers.rip = rip;
    processor.modeChanged();
    return jump;
  };

  return {
    syscall: (operation) => {
      if ((registers.efer & efer.systemCall) === 0) processor.raise(vector.invalidOpcode);
      const star = u64(starAt);
      const selector = Number((star >> 32n) & 0xfffcn);
      const flags = processor.readFlags() & ~flag.resume;
      const next = processor.nextInstructionPointer(operation);
      if (!registers.longMode) {
        registers.writeLow(register.rcx, Number(next));
        processor.writeFlags(flags & ~(flag.interrupt | flag.virtual8086));
        return enter(flatCode(selector, 0, false), flatStack(selector + 8, 0), 0, star & 0xffff_ffffn);
      }
      const target = processor.mode.long ? u64(lstarAt) : u64(cstarAt);
      registers.write(register.rcx, next);
      registers.write(r11, BigInt(flags));
      processor.writeFlags((flags & ~Number(u64(fmaskAt) & 0xffff_ffffn)) | flag.fixed);
      return enter(flatCode(selector, 0, true), flatStack(selector + 8, 0), 0, target);
    },
    sysret: (operation) => {
      if ((registers.efer & efer.systemCall) === 0) processor.raise(vector.invalidOpcode);
      if ((registers.cr0 & 1) === 0 || registers.cpl !== 0) processor.raise(vector.generalProtection, 0);
      const selector = Number((u64(starAt) >> 48n) & 0xfffcn);
      const long = processor.mode.long && operands.scale(operation) === 8;
      const target = long ? registers.read(register.rcx) : registers.read(register.rcx) & 0xffff_ffffn;
      if (registers.longMode) {
        const kept = definedFlags & ~(flag.resume | flag.virtual8086);
        processor.writeFlags((Number(registers.read(r11) & 0xffff_ffffn) & kept) | flag.fixed);
      } else {
        processor.writeFlags(processor.readFlags() | flag.interrupt);
      }
      return enter(flatCode((selector + (long ? 16 : 0)) | 3, 3, long), flatStack((selector + 8) | 3, 3), 3, target);
    },
    sysenter: () => {
      const { modelRegisters } = processor;
      if (registers.longMode) processor.raise(vector.invalidOpcode);
      const selector = Number(modelRegisters.sysenterSelector & 0xfffcn);
      if (!registers.protectedMode || selector === 0) processor.raise(vector.generalProtection, 0);
      processor.writeFlags(processor.readFlags() & ~(flag.interrupt | flag.resume));
      registers.write(register.rsp, modelRegisters.sysenterStack & 0xffff_ffffn);
      const target = modelRegisters.sysenterTarget & 0xffff_ffffn;
      return enter(flatCode(selector, 0, false), flatStack(selector + 8, 0), 0, target);
    },
    sysexit: () => {
      if (registers.longMode) processor.raise(vector.invalidOpcode);
      const selector = Number(processor.modelRegisters.sysenterSelector & 0xfffcn);
      if (!registers.protectedMode || registers.cpl !== 0 || selector === 0) {
        processor.raise(vector.generalProtection, 0);
      }
      registers.write(register.rsp, registers.read(register.rcx) & 0xffff_ffffn);
      const target = registers.read(register.rdx) & 0xffff_ffffn;
      return enter(flatCode((selector + 16) | 3, 3, false), flatStack((selector + 24) | 3, 3), 3, target);
    },
  };
}
