import { helperResult } from "../operations.ts";
import type { Helpers } from "../processor-interface.ts";
import { attribute, flag, segment, systemType, vector } from "./architecture.ts";
import {
  type Descriptor,
  findDescriptor,
  isCanonical,
  isCode,
  isConforming,
  isOrdinary,
  isPresent,
  isWritableData,
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
import { storeFlags } from "./flags.ts";
import { Operands } from "./operands.ts";
import type { SystemProcessor } from "./system-processor.ts";

/** A segment load in real and virtual-8086 mode: the limit and attributes stay, which is what "unreal mode" rests on. */
export function loadRealSegment(processor: SystemProcessor, index: number, selector: number): void {
  const { registers } = processor;
  const before = registers.readSegment(index);
  registers.writeSegment(index, {
    selector,
    base: BigInt(selector) << 4n,
    limit: before.unusable ? 0xffff : before.limit,
    attributes: before.unusable ? 0x93 : before.attributes,
    unusable: false,
  });
}

/** Checks a descriptor for SS at a privilege level (Intel SDM Vol. 3A §5.7). `fault` is #GP, or #TS for a TSS's stack. */
export function checkStackDescriptor(
  processor: SystemProcessor,
  descriptor: Descriptor,
  privilege: number,
  fault: number = vector.generalProtection,
): void {
  const code = selectorCode(descriptor.selector);
  if ((descriptor.selector & 3) !== privilege || !isWritableData(descriptor) || privilegeOf(descriptor) !== privilege) {
    processor.raise(fault, code);
  }
  if (!isPresent(descriptor)) {
    processor.raise(vector.stackFault, code);
  }
}

/** MOV, POP and the far pointer loads to a data or stack segment register. */
export function loadSegment(processor: SystemProcessor, index: number, selector: number): void {
  const { registers } = processor;
  if (!registers.protectedMode) {
    loadRealSegment(processor, index, selector);
    processor.modeChanged();
    return;
  }
  const { cpl } = registers;
  if (index === segment.ss) {
    if (selectorCode(selector) === 0) {
      // NOTE: 64-bit mode allows a null SS below privilege 3.
      if (!registers.mode64 || cpl === 3 || (selector & 3) !== cpl) {
        processor.raise(vector.generalProtection, 0);
      }
      registers.writeSegment(index, nullSegment(selector));
    } else {
      const descriptor = readDescriptor(processor, selector);
      checkStackDescriptor(processor, descriptor, cpl);
      markAccessed(processor, descriptor);
      registers.writeSegment(index, segmentOf(descriptor));
    }
    processor.setInterruptShadow(2);
  } else if (selectorCode(selector) === 0) {
    registers.writeSegment(index, nullSegment(selector));
  } else {
    const descriptor = readDescriptor(processor, selector);
    const code = selectorCode(selector);
    const readable = !isCode(descriptor) || (descriptor.attributes & attribute.readWrite) !== 0;
    if (!isOrdinary(descriptor) || !readable) {
      processor.raise(vector.generalProtection, code);
    }
    if (!isConforming(descriptor) && Math.max(cpl, selector & 3) > privilegeOf(descriptor)) {
      processor.raise(vector.generalProtection, code);
    }
    if (!isPresent(descriptor)) {
      processor.raise(vector.segmentNotPresent, code);
    }
    markAccessed(processor, descriptor);
    registers.writeSegment(index, segmentOf(descriptor));
  }
  processor.modeChanged();
}

/** After a change to an outer level: data segments that it may not use become null (Intel SDM Vol. 3A §5.8.6). */
export function dropInnerSegments(processor: SystemProcessor, privilege: number): void {
  const { registers } = processor;
  for (const index of [segment.es, segment.ds, segment.fs, segment.gs]) {
    const attributes = registers.segmentAttributes(index);
    const conforming =
      (attributes & (attribute.code | attribute.conforming)) === (attribute.code | attribute.conforming);
    if (!conforming && registers.segmentPrivilege(index) < privilege && !registers.segmentUnusable(index)) {
      registers.writeSegment(index, nullSegment(0));
    }
  }
}

/** The helpers of segment registers and descriptor tables. */
export function segmentHelpers(processor: SystemProcessor): Helpers {
  const { registers, linear, core } = processor;
  const operands = new Operands(core);
  const { next, jump } = helperResult;

  const requirePrivilege0 = () => {
    if (registers.cpl !== 0) processor.raise(vector.generalProtection, 0);
  };
  /** UMIP: SGDT, SIDT, SLDT, STR and SMSW are privileged. */
  const requireUserInstructions = () => {
    if (registers.cpl !== 0 && (registers.cr4 & 0x800) !== 0) processor.raise(vector.generalProtection, 0);
  };
  const requireProtectedMode = () => {
    if (!registers.protectedMode) processor.raise(vector.invalidOpcode);
  };
  const goOn = (operation: number): number => {
    registers.rip = processor.nextInstructionPointer(operation);
    return jump;
  };
  const storeSelector = (operation: number, value: bigint): number => {
    const destination = operands.destination(operation);
    if (destination === 0) linear.write(operands.effectiveAddress, 2, value);
    else operands.write(destination, operands.scale(operation), value);
    return next;
  };

  const storeTable = (base: bigint, limit: number): number => {
    requireUserInstructions();
    const address = operands.effectiveAddress;
    const wide = processor.mode.long;
    linear.probeWrite(address, wide ? 10 : 6);
    linear.write(address, 2, BigInt(limit));
    // NOTE: with a 16-bit operand size the fourth byte of the base is stored too on processors since the 80386.
    linear.write(linearAddress(processor, address + 2n), wide ? 8 : 4, wide ? base : base & 0xffff_ffffn);
    return next;
  };
  const readTable = (operation: number) => {
    requirePrivilege0();
    const address = operands.effectiveAddress;
    const limit = Number(linear.read(address, 2));
    let base = linear.read(linearAddress(processor, address + 2n), processor.mode.long ? 8 : 4);
    if (!processor.mode.long && operands.scale(operation) === 2) {
      base &= 0xff_ffffn;
    }
    if (processor.mode.long && !isCanonical(base)) {
      processor.raise(vector.generalProtection, 0);
    }
    return { base, limit };
  };

  /** LLDT and LTR: the descriptor of a system segment, whose base has 64 bits in long mode. */
  const systemSegment = (selector: number, types: readonly number[]) => {
    const code = selectorCode(selector);
    if ((selector & 4) !== 0) processor.raise(vector.generalProtection, code);
    const descriptor = readDescriptor(processor, selector);
    const type = systemTypeOf(descriptor);
    if (type === undefined || !types.includes(type)) {
      return processor.raise(vector.generalProtection, code);
    }
    if (!isPresent(descriptor)) processor.raise(vector.segmentNotPresent, code);
    const base = registers.longMode
      ? (readUpperBase(processor, descriptor) << 32n) | BigInt(descriptor.base)
      : BigInt(descriptor.base);
    if (!isCanonical(base)) processor.raise(vector.generalProtection, code);
    return { descriptor, base };
  };

  /** A descriptor that LAR, LSL, VERR or VERW may look at, else undefined. */
  const inspect = (selector: number): Descriptor | undefined => {
    if (selectorCode(selector) === 0) return undefined;
    return findDescriptor(processor, selector);
  };
  const visible = (descriptor: Descriptor, selector: number): boolean =>
    isConforming(descriptor) || Math.max(registers.cpl, selector & 3) <= privilegeOf(descriptor);
  const setZero = (zero: boolean) => {
    const flags = processor.readFlags();
    storeFlags(core.u32, zero ? flags | flag.zero : flags & ~flag.zero);
  };
  const legacyTypesForRights: readonly number[] = [
    systemType.tss16,
    systemType.ldt,
    systemType.tss16Busy,
    systemType.callGate16,
    systemType.taskGate,
    systemType.tss,
    systemType.tssBusy,
    systemType.callGate,
  ];
  const longTypesForRights: readonly number[] = [
    systemType.ldt,
    systemType.tss,
    systemType.tssBusy,
    systemType.callGate,
  ];
  const legacyTypesForLimit: readonly number[] = [
    systemType.tss16,
    systemType.ldt,
    systemType.tss16Busy,
    systemType.tss,
    systemType.tssBusy,
  ];
  const longTypesForLimit: readonly number[] = [systemType.ldt, systemType.tss, systemType.tssBusy];

  const verify = (operation: number, allowed: (descriptor: Descriptor) => boolean): number => {
    requireProtectedMode();
    const selector = operands.word(operands.source(operation));
    const descriptor = inspect(selector);
    setZero(descriptor !== undefined && isOrdinary(descriptor) && visible(descriptor, selector) && allowed(descriptor));
    return next;
  };

  return {
    "load-segment": (operation) => {
      loadSegment(processor, operands.destination(operation), operands.word(operands.source(operation)));
      return goOn(operation);
    },
    "store-segment": (operation) => storeSelector(operation, BigInt(registers.selector(operands.source(operation)))),
    "load-far-pointer": (operation) => {
      const size = operands.scale(operation);
      const address = operands.effectiveAddress;
      const offset = linear.read(address, size);
      const selector = Number(linear.read(linearAddress(processor, address + BigInt(size)), 2));
      loadSegment(processor, operands.source(operation), selector);
      operands.write(operands.destination(operation), size, offset);
      return goOn(operation);
    },
    "load-gdt": (operation) => {
      registers.gdtr = readTable(operation);
      return next;
    },
    "load-idt": (operation) => {
      registers.idtr = readTable(operation);
      return next;
    },
    "store-gdt": () => storeTable(registers.gdtr.base, registers.gdtr.limit),
    "store-idt": () => storeTable(registers.idtr.base, registers.idtr.limit),
    "load-ldt": (operation) => {
      requireProtectedMode();
      requirePrivilege0();
      const selector = operands.word(operands.source(operation));
      if (selectorCode(selector) === 0) {
        registers.writeSegment(segment.ldtr, nullSegment(selector));
        return next;
      }
      const { descriptor, base } = systemSegment(selector, [systemType.ldt]);
      registers.writeSegment(segment.ldtr, { ...segmentOf(descriptor), attributes: descriptor.attributes, base });
      return next;
    },
    "load-task-register": (operation) => {
      requireProtectedMode();
      requirePrivilege0();
      const selector = operands.word(operands.source(operation));
      const types = registers.longMode ? [systemType.tss] : [systemType.tss16, systemType.tss];
      const { descriptor, base } = systemSegment(selector, types);
      linear.writeSystem(descriptor.address + 5n, 1, BigInt(((descriptor.high >>> 8) & 0xff) | 2));
      registers.writeSegment(segment.tr, { ...segmentOf(descriptor), attributes: descriptor.attributes | 2, base });
      return next;
    },
    "store-ldt": (operation) => {
      requireProtectedMode();
      requireUserInstructions();
      return storeSelector(operation, BigInt(registers.selector(segment.ldtr)));
    },
    "store-task-register": (operation) => {
      requireProtectedMode();
      requireUserInstructions();
      return storeSelector(operation, BigInt(registers.selector(segment.tr)));
    },
    "load-access-rights": (operation) => {
      requireProtectedMode();
      const selector = operands.word(operands.source(operation));
      const descriptor = inspect(selector);
      const type = descriptor === undefined ? undefined : systemTypeOf(descriptor);
      const types = registers.longMode ? longTypesForRights : legacyTypesForRights;
      const found =
        descriptor !== undefined && (type === undefined || types.includes(type)) && visible(descriptor, selector);
      if (found) {
        operands.write(
          operands.destination(operation),
          operands.scale(operation),
          BigInt(descriptor.high & 0x00ff_ff00),
        );
      }
      setZero(found);
      return next;
    },
    "load-segment-limit": (operation) => {
      requireProtectedMode();
      const selector = operands.word(operands.source(operation));
      const descriptor = inspect(selector);
      const type = descriptor === undefined ? undefined : systemTypeOf(descriptor);
      const types = registers.longMode ? longTypesForLimit : legacyTypesForLimit;
      const found =
        descriptor !== undefined && (type === undefined || types.includes(type)) && visible(descriptor, selector);
      if (found) {
        operands.write(operands.destination(operation), operands.scale(operation), BigInt(descriptor.limit));
      }
      setZero(found);
      return next;
    },
    "verify-read": (operation) =>
      verify(operation, (descriptor) => !isCode(descriptor) || (descriptor.attributes & attribute.readWrite) !== 0),
    "verify-write": (operation) => verify(operation, isWritableData),
    "adjust-privilege-level": (operation) => {
      requireProtectedMode();
      const destination = operands.destination(operation);
      const address = operands.effectiveAddress;
      const value = destination === 0 ? Number(linear.read(address, 2)) : operands.word(destination);
      const level = operands.word(operands.source(operation)) & 3;
      const raised = (value & 3) < level;
      if (raised && destination === 0) linear.write(address, 2, BigInt((value & ~3) | level));
      else if (raised) operands.write(destination, 2, BigInt((value & ~3) | level));
      setZero(raised);
      return next;
    },
    "swap-gs": (operation) => {
      requirePrivilege0();
      const at = processor.modelRegisters.kernelGsBaseSlot >> 3;
      const kernel = core.u64[at] as bigint;
      core.u64[at] = registers.segmentBase(segment.gs);
      registers.setSegmentBase(segment.gs, kernel);
      return goOn(operation);
    },
    "read-fs-base": (operation) => readBase(operation, segment.fs),
    "read-gs-base": (operation) => readBase(operation, segment.gs),
    "write-fs-base": (operation) => writeBase(operation, segment.fs),
    "write-gs-base": (operation) => writeBase(operation, segment.gs),
  };

  function readBase(operation: number, index: number): number {
    requireBaseInstructions();
    operands.write(operands.destination(operation), operands.scale(operation), registers.segmentBase(index));
    return next;
  }
  function writeBase(operation: number, index: number): number {
    requireBaseInstructions();
    const base = operands.read(operands.source(operation), operands.scale(operation));
    if (!isCanonical(base)) processor.raise(vector.generalProtection, 0);
    registers.setSegmentBase(index, base);
    return goOn(operation);
  }
  function requireBaseInstructions(): void {
    if (!processor.mode.long || (registers.cr4 & 0x1_0000) === 0 || !processor.features.fsgsbase) {
      processor.raise(vector.invalidOpcode);
    }
  }
}
