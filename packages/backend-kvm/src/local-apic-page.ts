import {
  type ApicMessage,
  apicBase,
  deliveryModes,
  type LocalApicState,
  type LocalApicTimerMode,
  localApicTimerDivisor,
  localApicTimerMode,
  noDeadline,
  localApicRegister as register,
} from "@cpr/core";
import type { Msi } from "./kvm-vm.ts";

/** The timer of a local APIC while the VM is stopped: KVM's own goes on meanwhile. */
export interface StoppedTimer {
  /** The current count register: 0 if it does not count. */
  readonly currentCount: number;
  /** IA32_TSC_DEADLINE. */
  readonly tscDeadline: bigint;
}

/** What a {@link LocalApicState} takes that is not in the page of registers. */
export interface LocalApicSurroundings {
  /** IA32_APIC_BASE. */
  readonly base: bigint;
  readonly timer: StoppedTimer;
  /** Virtual time in nanoseconds. */
  readonly now: number;
}

/** The timer's mode as the page of registers that KVM_GET_LAPIC gives shows it. */
export const timerMode = (page: DataView): LocalApicTimerMode =>
  localApicTimerMode(page.getUint32(register.timer, true));

const words = (page: DataView, at: number): number[] =>
  Array.from({ length: 8 }, (_, index) => page.getUint32(at + 16 * index, true));

/** Registers of the local vector table in the order of the state. */
const localVectorsAt = [
  register.timer,
  register.thermal,
  register.performance,
  register.lint0,
  register.lint1,
  register.error,
] as const;
/** Read-only bits of an entry: delivery status and remote IRR. */
const statusBits = 0x5000;

/** Reads the page of registers (KVM api.rst §4.57). */
export function readLocalApic(page: DataView, { base, timer, now }: LocalApicSurroundings): LocalApicState {
  const read = (at: number): number => page.getUint32(at, true);
  const x2apic = (base & apicBase.x2apic) !== 0n;
  const divide = read(register.divideConfiguration) & 0x0b;
  const counting = timerMode(page) !== "tsc-deadline" && timer.currentCount !== 0;
  return {
    apicBase: base,
    id: read(register.id) >>> 24,
    taskPriority: read(register.taskPriority) & 0xff,
    // In x2APIC mode it follows from the id and is not kept.
    logicalDestination: x2apic ? 0 : read(register.logicalDestination),
    destinationFormat: read(register.destinationFormat),
    spurious: read(register.spurious) & 0x3ff,
    inService: words(page, register.inService),
    triggerMode: words(page, register.triggerMode),
    interruptRequest: words(page, register.interruptRequest),
    errorStatus: read(register.errorStatus),
    errors: 0,
    command: (BigInt(read(register.commandHigh)) << 32n) | BigInt(read(register.commandLow) & ~0x1000),
    localVectors: localVectorsAt.map((at) => (read(at) & ~statusBits) >>> 0),
    divideConfiguration: divide,
    initialCount: read(register.initialCount),
    timerDeadline: counting
      ? BigInt(now) + BigInt(timer.currentCount) * BigInt(localApicTimerDivisor(divide))
      : noDeadline,
    tscDeadline: timer.tscDeadline,
    externalPending: false,
    nmiPending: false,
    initPending: false,
    startupPending: false,
    startupVector: 0,
  };
}

/** Writes a state into a page of registers that KVM_GET_LAPIC has given, and tells how the timer is to go on. */
export function writeLocalApic(page: DataView, state: LocalApicState, now: number): StoppedTimer {
  const write = (at: number, value: number): void => page.setUint32(at, value >>> 0, true);
  const x2apic = (state.apicBase & apicBase.x2apic) !== 0n;
  write(register.id, state.id * 2 ** 24);
  write(register.taskPriority, state.taskPriority);
  if (!x2apic) write(register.logicalDestination, state.logicalDestination);
  write(register.destinationFormat, state.destinationFormat);
  write(register.spurious, state.spurious);
  for (const [at, values] of [
    [register.inService, state.inService],
    [register.triggerMode, state.triggerMode],
    [register.interruptRequest, state.interruptRequest],
  ] as const) {
    values.forEach((value, index) => {
      write(at + 16 * index, value);
    });
  }
  write(register.errorStatus, state.errorStatus);
  write(register.commandLow, Number(state.command & 0xffff_ffffn));
  write(register.commandHigh, Number(state.command >> 32n));
  state.localVectors.forEach((value, index) => {
    write(localVectorsAt[index] as number, value);
  });
  write(register.divideConfiguration, state.divideConfiguration);
  write(register.initialCount, state.initialCount);
  const divisor = localApicTimerDivisor(state.divideConfiguration);
  // A deadline that has passed fires at once: the least count there is.
  const left =
    state.timerDeadline === noDeadline ? 0 : Math.max(1, Math.ceil((Number(state.timerDeadline) - now) / divisor));
  return { currentCount: Math.min(left, 0xffff_ffff), tscDeadline: state.tscDeadline };
}

/** A message between APICs as what a device would write (Intel SDM Vol. 3A §11.11). */
export function toMsi({ destination, logical, deliveryMode, vector, trigger }: ApicMessage): Msi {
  const redirectionHint = deliveryMode === "lowest-priority" ? 8 : 0;
  const assert = 0x4000;
  return {
    address: (0xfee0_0000 | ((destination & 0xff) << 12) | redirectionHint | (logical ? 4 : 0)) >>> 0,
    data: vector | (deliveryModes.indexOf(deliveryMode) << 8) | assert | (trigger === "level" ? 0x8000 : 0),
  };
}
