import {
  msrCapacity,
  type ProcessorState,
  processorStateProblem,
  type SegmentState,
  savedMsrs,
  unusedMsr,
} from "@cpr/core";
import { interpreterErrors } from "../errors.ts";
import { restoreXsaveImage, saveXsaveImage } from "../float/index.ts";
import { interruptShadowAt, xcr0At } from "../layout.ts";
import { flag, segment } from "./architecture.ts";
import { storeFlags } from "./flags.ts";
import { clockMsr, isClockMsr } from "./paravirtual-clock.ts";
import { type Activity, activity, type Processor } from "./processor.ts";

/** DR0 to DR3, DR6, DR7. */
const debugNumbers = [0, 1, 2, 3, 6, 7];
/** The state of a vCPU between two instructions. */
export function saveProcessor(processor: Processor): ProcessorState {
  const { registers, core, modelRegisters } = processor;
  const segmentOf = (index: number): SegmentState => ({ ...registers.readSegment(index) });
  const table = ({ base, limit }: { base: bigint; limit: number }) => ({ base, limit });
  const msrs = [...savedMsrs.keys()].map((index) => ({
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
  const problem = processorStateProblem(state, processor.features.model) ?? msrProblem(processor, state);
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
    if (index !== unusedMsr && !isClockMsr(index)) modelRegisters.write(index, value);
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

/** CPL: 3 in virtual-8086 mode, 0 in real mode, else the DPL of SS, as VMX has it (Intel SDM Vol. 3C §25.4.1). */
function privilegeOf(state: ProcessorState): number {
  if ((state.cr0 & 1n) === 0n) return 0;
  if ((state.rflags & BigInt(flag.virtual8086)) !== 0n) return 3;
  return ((state.segments[segment.ss]?.attributes ?? 0) >> 5) & 3;
}

/** Why a register cannot have its value, or undefined. */
function msrProblem({ modelRegisters }: Processor, { msrs }: ProcessorState): string | undefined {
  const wrong = msrs.find(({ index, value }) => index !== unusedMsr && !modelRegisters.isAllowed(index, value));
  return wrong === undefined ? undefined : `MSR 0x${wrong.index.toString(16)} cannot be 0x${wrong.value.toString(16)}`;
}
