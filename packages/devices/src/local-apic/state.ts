import { array, bool, defineState, type StateOf, u8, u32, u64 } from "@cpr/core";
import { isDeadline } from "../deadline.ts";
import { apicBase, localVectors } from "./registers.ts";

/** State of a local APIC. */
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
  /** Virtual nanoseconds at which the timer fires, from which its current count follows; all ones if it does not. */
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
export function problemOf(state: LocalApicState, index: number): string | undefined {
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
