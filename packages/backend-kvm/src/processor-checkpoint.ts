import { msrCapacity, type ProcessorState, savedMsrs, unusedMsr } from "@cpr/core";
import { kvmErrors } from "./errors.ts";
import type { KvmVcpu, MsrValue } from "./kvm-vcpu.ts";
import { readEvents, writeEvents } from "./processor-events.ts";
import { readRegisters, writeRegs, writeSregs } from "./processor-registers.ts";
import { normalizeXsave } from "./xsave-area.ts";

/** What of a vCPU's state its clocks hold: see guest-clock.ts. */
export type ClockState = Pick<ProcessorState, "tsc" | "tscFrequency" | "systemTime">;

/** Places in `struct kvm_debugregs`: DR0 to DR3, DR6, DR7. */
const debugRegistersAt = [0, 8, 16, 24, 32, 40];
/** The value of XCR0 in `struct kvm_xcrs` with one register, which has number 0. */
const xcr0ValueAt = 16;

/**
 * Which of the model-specific registers that a state lists this host's KVM has: those that it tells of, and the MTRRs, which it
 * does not tell of and answers for (KVM api.rst §4.3).
 */
export function availableMsrs(vcpu: KvmVcpu, told: ReadonlySet<number>): readonly number[] {
  return [...savedMsrs.keys()].filter((index) => told.has(index) || vcpu.hasMsr(index));
}

/** The state of a vCPU that is parked. */
export function saveProcessor(
  vcpu: KvmVcpu,
  msrs: readonly MsrValue[],
  components: bigint,
  clock: ClockState,
): ProcessorState {
  // NOTE: first, because it makes the kernel do what INIT and start-up IPIs that have come ask for.
  const activity = vcpu.mpState();
  const debug = vcpu.debugRegs();
  const listed = [...msrs];
  while (listed.length < msrCapacity) listed.push({ index: unusedMsr, value: 0n });
  return {
    ...readRegisters(vcpu.regs(), vcpu.sregs()),
    xcr0: vcpu.xcrs().getBigUint64(xcr0ValueAt, true),
    debugRegisters: debugRegistersAt.map((at) => debug.getBigUint64(at, true)),
    xsave: normalizeXsave(vcpu.xsave(), components),
    msrs: listed.map(({ index, value }) => ({ index, value })),
    activity,
    ...readEvents(vcpu.events()),
    ...clock,
  };
}

/**
 * Puts a vCPU that is parked in a state, but for its clocks.
 *
 * @throws {CprError} if the kernel refuses it; some of it may have changed then.
 */
export function restoreProcessor(vcpu: KvmVcpu, msrs: readonly MsrValue[], state: ProcessorState): void {
  const sregs = vcpu.sregs();
  writeSregs(sregs, state);
  vcpu.setSregs(sregs);
  const regs = vcpu.regs();
  writeRegs(regs, state);
  vcpu.setRegs(regs);
  const xcrs = new DataView(new ArrayBuffer(392));
  xcrs.setUint32(0, 1, true);
  xcrs.setBigUint64(xcr0ValueAt, state.xcr0, true);
  vcpu.setXcrs(xcrs);
  vcpu.setXsave(new DataView(state.xsave.slice().buffer));
  const debug = vcpu.debugRegs();
  state.debugRegisters.forEach((value, index) => {
    debug.setBigUint64(debugRegistersAt[index] as number, value, true);
  });
  vcpu.setDebugRegs(debug);
  const refused = vcpu.setMsrs(msrs);
  if (refused !== undefined) {
    const value = msrs.find(({ index }) => index === refused)?.value ?? 0n;
    throw kvmErrors.ERR_CPR_KVM_STATE({ problem: `MSR 0x${refused.toString(16)} cannot be 0x${value.toString(16)}` });
  }
  vcpu.setMpState(state.activity);
  vcpu.setEvents(writeEvents(state));
}
