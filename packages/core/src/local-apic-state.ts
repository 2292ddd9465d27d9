import { array, bool, u8, u32, u64 } from "./state/fields.ts";
import { defineState, type StateOf } from "./state/schema.ts";

/** Offsets in the local APIC's page (Intel SDM Vol. 3A table 11-1); an x2APIC MSR is 0x800 plus a sixteenth of it. */
export const localApicRegister = {
  id: 0x020,
  version: 0x030,
  taskPriority: 0x080,
  arbitrationPriority: 0x090,
  processorPriority: 0x0a0,
  endOfInterrupt: 0x0b0,
  remoteRead: 0x0c0,
  logicalDestination: 0x0d0,
  destinationFormat: 0x0e0,
  spurious: 0x0f0,
  inService: 0x100,
  triggerMode: 0x180,
  interruptRequest: 0x200,
  errorStatus: 0x280,
  commandLow: 0x300,
  commandHigh: 0x310,
  timer: 0x320,
  thermal: 0x330,
  performance: 0x340,
  lint0: 0x350,
  lint1: 0x360,
  error: 0x370,
  initialCount: 0x380,
  currentCount: 0x390,
  divideConfiguration: 0x3e0,
  /** x2APIC mode only. */
  selfInterrupt: 0x3f0,
} as const;

/** The local vector table in the order of its registers, with the bits that can be written. */
export const localVectors = [
  { name: "timer", writable: 0x0007_00ff },
  { name: "thermal", writable: 0x0001_07ff },
  { name: "performance", writable: 0x0001_07ff },
  { name: "lint0", writable: 0x0001_a7ff },
  { name: "lint1", writable: 0x0001_a7ff },
  { name: "error", writable: 0x0001_00ff },
] as const;

/** The mode field of the timer's entry in the local vector table: both bits clear is one-shot. */
const timerModeField = { mask: 0x0006_0000, periodic: 0x0002_0000, tscDeadline: 0x0004_0000 } as const;

/** How a local APIC's timer counts (Intel SDM Vol. 3A §11.5.4). */
export type LocalApicTimerMode = "one-shot" | "periodic" | "tsc-deadline";

/** The mode that the timer's entry in the local vector table asks for (Intel SDM Vol. 3A figure 11-8). */
export function localApicTimerMode(entry: number): LocalApicTimerMode {
  switch (entry & timerModeField.mask) {
    case timerModeField.tscDeadline:
      return "tsc-deadline";
    case timerModeField.periodic:
      return "periodic";
    default:
      return "one-shot";
  }
}

/** What the divide configuration register divides the timer's input clock by (Intel SDM Vol. 3A figure 11-10). */
export function localApicTimerDivisor(divideConfiguration: number): number {
  const code = (divideConfiguration & 3) | ((divideConfiguration & 8) >> 1);
  return code === 7 ? 1 : 2 << code;
}

/** IA32_APIC_BASE (Intel SDM Vol. 3A figure 11-5). */
export const apicBase = { bootProcessor: 0x100n, x2apic: 0x400n, enabled: 0x800n, address: 0xfee0_0000n } as const;

/** The value of a saved deadline that means a disarmed timer. */
export const noDeadline = 0xffff_ffff_ffff_ffffn;

/** Whether a saved deadline can be one: numbers on the virtual clock are exact up to 2^53. */
export function isDeadline(value: bigint): boolean {
  return value === noDeadline || value <= BigInt(Number.MAX_SAFE_INTEGER);
}

/** State of a local APIC, whoever emulates it: the board's device or the execution backend. */
export const localApicState = defineState("local-apic", 1, {
  apicBase: u64,
  /** In xAPIC mode the guest can change bits 31:24; in x2APIC mode it is the vCPU's index. */
  id: u32,
  taskPriority: u8,
  logicalDestination: u32,
  destinationFormat: u32,
  spurious: u32,
  /** Vectors 0 to 255, bit 0 of the first word is vector 0. */
  inService: array(u32, 8),
  triggerMode: array(u32, 8),
  interruptRequest: array(u32, 8),
  errorStatus: u32,
  /** Errors since the error status register was last written. */
  errors: u32,
  command: u64,
  /** Timer, thermal sensor, performance counters, LINT0, LINT1, error. */
  localVectors: array(u32, 6),
  divideConfiguration: u8,
  initialCount: u32,
  /**
   * Virtual nanoseconds at which the timer fires, from which its current count follows; all ones if it does not, or if
   * {@link tscDeadline} says when.
   */
  timerDeadline: u64,
  /** IA32_TSC_DEADLINE: 0 if not armed. */
  tscDeadline: u64,
  /** An ExtINT message has come and waits for its acknowledge cycle. */
  externalPending: bool,
  nmiPending: bool,
  initPending: bool,
  startupPending: bool,
  startupVector: u8,
});
export type LocalApicState = StateOf<typeof localApicState>;

/** Why a state is impossible for the local APIC of a vCPU, or undefined if it is not. */
export function localApicProblem(state: LocalApicState, index: number): string | undefined {
  const modes = apicBase.enabled | apicBase.x2apic;
  if ((state.apicBase & ~(modes | apicBase.bootProcessor)) !== apicBase.address) {
    return `IA32_APIC_BASE 0x${state.apicBase.toString(16)}`;
  }
  if ((state.apicBase & modes) === apicBase.x2apic) {
    return "x2APIC mode without being enabled";
  }
  if (state.id > 0xff || ((state.apicBase & apicBase.x2apic) !== 0n && state.id !== index)) {
    return `APIC id ${state.id}`;
  }
  if (state.localVectors.some((entry, place) => (entry & ~(localVectors[place]?.writable ?? 0)) !== 0)) {
    return "reserved bits of the local vector table are set";
  }
  return isDeadline(state.timerDeadline) ? undefined : "a deadline is out of range";
}
