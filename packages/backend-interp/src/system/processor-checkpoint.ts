import { checkFields, msrCapacity, type ProcessorState, processorState, type SegmentState } from "@cpr/core";
import { interpreterErrors } from "../errors.ts";
import { mxcsrMask, restoreXsaveImage, saveXsaveImage, supportedXcr0 } from "../float/index.ts";
import { interruptShadowAt, xcr0At } from "../layout.ts";
import { attribute, cr0, definedFlags, efer, flag, physicalAddressBits, segment } from "./architecture.ts";
import { controlConflict } from "./control-registers.ts";
import { isCanonical } from "./descriptors.ts";
import { storeFlags } from "./flags.ts";
import { xcr0Conflict } from "./machine-instructions.ts";
import { ModelSpecificRegisters } from "./msr.ts";
import { clockMsr } from "./paravirtual-clock.ts";
import { type Activity, activity, type Processor } from "./processor.ts";

/** Index of an unused place in the list of model-specific registers. */
const unusedMsr = 0xffff_ffff;
const implementedEfer = efer.systemCall | efer.longModeEnable | efer.longModeActive | efer.noExecute;
/** What a segment's attributes leave room for: the limit's bits are not among them. */
const attributeMask = 0xf0ff;
/** DR0 to DR3, DR6, DR7. */
const debugNumbers = [0, 1, 2, 3, 6, 7];
/** Offsets in the XSAVE area. */
const xsaveAt = { mxcsr: 24, header: 512, end: 576 } as const;

/** The state of a vCPU between two instructions. */
export function saveProcessor(processor: Processor): ProcessorState {
  const { registers, core, modelRegisters } = processor;
  const segmentOf = (index: number): SegmentState => ({ ...registers.readSegment(index) });
  const table = ({ base, limit }: { base: bigint; limit: number }) => ({ base, limit });
  const msrs = ModelSpecificRegisters.savedIndices.map((index) => ({
    index,
    value: modelRegisters.read(index) as bigint,
  }));
  while (msrs.length < msrCapacity) {
    msrs.push({ index: unusedMsr, value: 0n });
  }
  const { pendingEvent } = processor;
  return {
    registers: Array.from({ length: 16 }, (_, index) => registers.read(index)),
    rip: registers.rip,
    rflags: BigInt(processor.readFlags()),
    segments: [0, 1, 2, 3, 4, 5].map(segmentOf),
    ldtr: segmentOf(segment.ldtr),
    tr: segmentOf(segment.tr),
    gdtr: table(registers.gdtr),
    idtr: table(registers.idtr),
    cr0: BigInt(registers.cr0),
    cr2: registers.cr2,
    cr3: registers.cr3,
    cr4: BigInt(registers.cr4),
    cr8: BigInt(processor.interrupts?.taskPriority ?? 0),
    efer: BigInt(registers.efer),
    xcr0: core.u64[xcr0At >> 3] as bigint,
    debugRegisters: debugNumbers.map((number) => registers.debug(number)),
    xsave: saveXsaveImage(processor),
    msrs,
    tsc: processor.timeStamp.read(),
    tscFrequency: BigInt(processor.timeStamp.frequency),
    systemTime: BigInt(processor.paravirtualClock.now),
    // NOTE: after a triple fault the processor would fault again at the same instruction: that is what is saved.
    activity: processor.activity === activity.shutdown ? activity.running : processor.activity,
    interruptShadow: core.u32[interruptShadowAt >> 2] as number,
    nmiMasked: processor.nmiMasked,
    nmiPending: processor.nmiPending,
    pendingEvent: {
      valid: pendingEvent !== undefined,
      vector: pendingEvent?.vector ?? 0,
      kind: pendingEvent?.kind ?? 0,
      hasErrorCode: pendingEvent?.errorCode !== undefined,
      errorCode: pendingEvent?.errorCode ?? 0,
    },
  };
}

/**
 * Checks whether the processor can be in a state.
 *
 * @throws {CprError} if the state is impossible or needs what the interpreter lacks.
 */
export function checkProcessor(processor: Processor, state: ProcessorState): void {
  const problem = findProblem(processor, state);
  if (problem !== undefined) {
    throw interpreterErrors.ERR_CPR_INTERP_STATE({ problem });
  }
}

/**
 * Puts the processor in a state.
 *
 * @throws {CprError} if the state is impossible or needs what the interpreter lacks; nothing has changed then.
 */
export function restoreProcessor(processor: Processor, state: ProcessorState): void {
  checkProcessor(processor, state);
  const { registers, core, modelRegisters } = processor;
  state.registers.forEach((value, index) => {
    registers.write(index, value);
  });
  registers.rip = state.rip;
  storeFlags(core.u32, Number(state.rflags));
  state.segments.forEach((value, index) => {
    registers.writeSegment(index, value);
  });
  registers.writeSegment(segment.ldtr, state.ldtr);
  registers.writeSegment(segment.tr, state.tr);
  registers.gdtr = state.gdtr;
  registers.idtr = state.idtr;
  registers.cr0 = Number(state.cr0);
  registers.cr2 = state.cr2;
  registers.cr3 = state.cr3;
  registers.cr4 = Number(state.cr4);
  registers.efer = Number(state.efer);
  core.u64[xcr0At >> 3] = state.xcr0;
  state.debugRegisters.forEach((value, index) => {
    registers.setDebug(debugNumbers[index] as number, value);
  });
  restoreXsaveImage(processor, state.xsave);
  modelRegisters.reset();
  for (const { index, value } of state.msrs) {
    if (index !== unusedMsr && !isClock(index)) modelRegisters.write(index, value);
  }
  const { timeStamp, paravirtualClock } = processor;
  const clockValue = (index: number): bigint => state.msrs.find((each) => each.index === index)?.value ?? 0n;
  paravirtualClock.restore(Number(state.systemTime), clockValue(clockMsr.systemTime), clockValue(clockMsr.wallClock));
  // NOTE: behind the registers, because IA32_TSC_ADJUST is among them, which moves the counter.
  timeStamp.frequency = Number(state.tscFrequency);
  timeStamp.restore(state.tsc, timeStamp.adjust);
  if (processor.interrupts !== undefined) {
    processor.interrupts.taskPriority = Number(state.cr8);
  }
  processor.activity = state.activity as Activity;
  core.u32[interruptShadowAt >> 2] = state.interruptShadow;
  processor.nmiMasked = state.nmiMasked;
  processor.nmiPending = state.nmiPending;
  const { valid, vector, kind, hasErrorCode, errorCode } = state.pendingEvent;
  processor.pendingEvent = valid ? { vector, kind, errorCode: hasErrorCode ? errorCode : undefined } : undefined;
  processor.setPrivilege(privilegeOf(state));
  processor.breakpointsChanged();
  processor.flushTranslations(false);
  processor.code.flush();
  processor.modeChanged();
}

function isClock(index: number): boolean {
  return index === clockMsr.systemTime || index === clockMsr.wallClock;
}

/** CPL: 3 in virtual-8086 mode, 0 in real mode, else the DPL of SS, as VMX has it (Intel SDM Vol. 3C §25.4.1). */
function privilegeOf(state: ProcessorState): number {
  if ((state.cr0 & 1n) === 0n) return 0;
  if ((state.rflags & BigInt(flag.virtual8086)) !== 0n) return 3;
  return ((state.segments[segment.ss]?.attributes ?? 0) >> 5) & 3;
}

/** Why a state cannot be taken, or undefined. */
function findProblem(processor: Processor, state: ProcessorState): string | undefined {
  return (
    checkFields(processorState.fields, state) ??
    controlProblem(processor, state) ??
    segmentProblem(state) ??
    extendedStateProblem(state) ??
    msrProblem(processor, state) ??
    clockProblem(state) ??
    eventProblem(state)
  );
}

function controlProblem(processor: Processor, state: ProcessorState): string | undefined {
  if ((state.efer & ~BigInt(implementedEfer)) !== 0n) return "EFER has reserved bits set";
  const extended = Number(state.efer);
  const conflict = controlConflict(state.cr0, state.cr4, extended, processor.features);
  if (conflict !== undefined) return conflict;
  const long = (Number(state.cr0) & cr0.paging) !== 0 && (extended & efer.longModeEnable) !== 0;
  if (((extended & efer.longModeActive) !== 0) !== long) return "EFER.LMA contradicts CR0.PG and EFER.LME";
  if ((state.cr0 & BigInt(cr0.extensionType)) === 0n) return "CR0.ET is clear";
  if (state.cr3 >> BigInt(long ? physicalAddressBits : 32) !== 0n) return "CR3 has reserved bits set";
  if (state.cr8 > 15n) return "CR8 is greater than 15";
  if ((state.rflags & ~BigInt(definedFlags)) !== 0n || (state.rflags & BigInt(flag.fixed)) === 0n) {
    return "RFLAGS has reserved bits set, or bit 1 clear";
  }
  const virtual8086 = (state.rflags & BigInt(flag.virtual8086)) !== 0n;
  if (virtual8086 && (long || (state.cr0 & 1n) === 0n)) return "RFLAGS.VM is set outside protected mode";
  const code64 = ((state.segments[segment.cs]?.attributes ?? 0) & attribute.long) !== 0;
  if (code64 && !long) return "CS is a 64-bit segment outside long mode";
  if (long && code64 ? !isCanonical(state.rip) : state.rip >> 32n !== 0n) return "RIP is out of range";
  if (state.debugRegisters.some((value, index) => index >= 4 && value >> 32n !== 0n)) {
    return "DR6 or DR7 has reserved bits set";
  }
  return undefined;
}

function segmentProblem(state: ProcessorState): string | undefined {
  for (const { attributes, base } of [...state.segments, state.ldtr, state.tr]) {
    if ((attributes & ~attributeMask) !== 0) return "a segment's attributes have bits of its limit set";
    if (!isCanonical(base)) return "a segment's base is not canonical";
  }
  const { attributes = 0 } = state.segments[segment.cs] ?? {};
  const both = attribute.long | attribute.big;
  if ((attributes & both) === both) return "CS is both a 64-bit and a 32-bit segment";
  return isCanonical(state.gdtr.base) && isCanonical(state.idtr.base)
    ? undefined
    : "the base of GDTR or IDTR is not canonical";
}

function extendedStateProblem(state: ProcessorState): string | undefined {
  const conflict = xcr0Conflict(state.xcr0);
  if (conflict !== undefined) return conflict;
  const view = new DataView(state.xsave.buffer, state.xsave.byteOffset, state.xsave.byteLength);
  if ((view.getUint32(xsaveAt.mxcsr, true) & ~mxcsrMask) !== 0) return "MXCSR has reserved bits set";
  if ((view.getBigUint64(xsaveAt.header, true) & ~supportedXcr0) !== 0n) {
    return "the XSAVE area has components that the interpreter lacks";
  }
  return state.xsave.subarray(xsaveAt.header + 8).some((byte) => byte !== 0)
    ? "the XSAVE area is not zero beyond its header"
    : undefined;
}

function msrProblem({ modelRegisters }: Processor, state: ProcessorState): string | undefined {
  for (const { index, value } of state.msrs) {
    if (index === unusedMsr) continue;
    const name = `MSR 0x${index.toString(16)}`;
    if (!ModelSpecificRegisters.savedIndices.includes(index)) return `the interpreter lacks ${name}`;
    if (!modelRegisters.isAllowed(index, value)) return `${name} cannot be 0x${value.toString(16)}`;
  }
  return undefined;
}

function clockProblem({ tscFrequency, systemTime }: ProcessorState): string | undefined {
  if (tscFrequency < 1_000_000n || tscFrequency > 100_000_000_000n) {
    return `the time-stamp counter runs at ${tscFrequency} Hz`;
  }
  return systemTime > BigInt(Number.MAX_SAFE_INTEGER) ? "kvmclock is out of range" : undefined;
}

function eventProblem({ activity: active, interruptShadow, pendingEvent }: ProcessorState): string | undefined {
  if (active > activity.halted) return `the vCPU's activity ${active} is unknown`;
  if (interruptShadow > 3) return `the vCPU's interrupt shadow ${interruptShadow} is unknown`;
  if (!pendingEvent.valid) return undefined;
  const { kind, vector } = pendingEvent;
  const known = kind === 0 || kind === 2 || kind === 3 || kind === 4;
  if (!known) return `the kind ${kind} of the pending event is unknown`;
  return kind === 3 && vector > 31 ? `there is no exception ${vector}` : undefined;
}
