import type { KvmVcpu, MsrValue } from "./kvm-vcpu.ts";
import type { KvmVm } from "./kvm-vm.ts";
import type { ClockState } from "./processor-checkpoint.ts";

const timeStampCounter = 0x10;
/** MSR_KVM_WALL_CLOCK_NEW, MSR_KVM_SYSTEM_TIME_NEW (KVM msr.rst). */
const wallClockMsr = 0x4b56_4d00;
const systemTimeMsr = 0x4b56_4d01;

const isClockMsr = (index: number): boolean => index === wallClockMsr || index === systemTimeMsr;

/**
 * The guest's clocks, which stand still while the VM does: time-stamp counters and kvmclock. KVM's own run on, so they are read
 * when the vCPUs have stopped, and set to go on from there when they start.
 */
export class GuestClock {
  readonly #vm: KvmVm;
  readonly #vcpus: readonly KvmVcpu[];
  /** Time-stamp counters while the VM is stopped. */
  readonly #counters: bigint[];
  /** kvmclock while the VM is stopped, in nanoseconds. */
  #systemTime = 0n;
  /** The clock's MSRs of vCPUs whose state was restored: setting them makes the kernel write to RAM, so it waits for the start. */
  readonly #msrs: (readonly MsrValue[] | undefined)[];
  /** Frequency of the time-stamp counters in kHz. */
  #frequency: number;
  /** Counters can be set. Not so where the guest reads the host's own: then they cannot stand still either. */
  readonly #settable: boolean;

  constructor(vm: KvmVm, vcpus: readonly KvmVcpu[]) {
    this.#vm = vm;
    this.#vcpus = vcpus;
    this.#counters = vcpus.map(() => 0n);
    this.#msrs = vcpus.map(() => undefined);
    const [first] = vcpus as readonly [KvmVcpu];
    this.#frequency = first.tscKhz();
    this.#settable = canSetOffset(first);
  }

  /** Reads the clocks of vCPUs that have just stopped. */
  stop(): void {
    this.#systemTime = this.#vm.clock();
    const [first] = this.#vcpus as readonly [KvmVcpu];
    const counter = readCounter(first);
    const offset = first.tscOffset();
    for (const [index, vcpu] of this.#vcpus.entries()) {
      // By offsets, so that counters that are in step are saved so, although they are read one after the other.
      const own = index === 0 || offset === undefined ? undefined : vcpu.tscOffset();
      const other = own === undefined || offset === undefined ? readCounter(vcpu) : counter + own - offset;
      this.#counters[index] = index === 0 ? counter : BigInt.asUintN(64, other);
    }
  }

  /** Lets the clocks go on. */
  start(): void {
    const [first] = this.#vcpus as readonly [KvmVcpu];
    const offset = first.tscOffset();
    const now = readCounter(first);
    for (const [index, vcpu] of this.#vcpus.entries()) {
      const wanted = this.#counters[index] as bigint;
      if (!this.#settable) continue;
      if (offset === undefined) vcpu.setMsrs([{ index: timeStampCounter, value: wanted }]);
      else vcpu.setTscOffset(BigInt.asUintN(64, offset + wanted - now));
    }
    this.#vm.setClock(this.#systemTime);
    for (const [index, vcpu] of this.#vcpus.entries()) {
      vcpu.setMsrs(this.msrsOf(index));
      this.#msrs[index] = undefined;
    }
  }

  save(processor: number): ClockState {
    return {
      tsc: this.#counters[processor] as bigint,
      tscFrequency: BigInt(this.#frequency) * 1000n,
      systemTime: this.#systemTime,
    };
  }

  /** Sets the clocks of one vCPU that is stopped. The frequency must be one that {@link problem} says nothing about. */
  restore(processor: number, { tsc, tscFrequency, systemTime }: ClockState, msrs: readonly MsrValue[]): void {
    const frequency = Math.round(Number(tscFrequency) / 1000);
    if (frequency !== this.#frequency) {
      // All at once: they are one frequency.
      for (const vcpu of this.#vcpus) vcpu.setTscKhz(frequency);
      this.#frequency = frequency;
    }
    this.#counters[processor] = tsc;
    this.#systemTime = systemTime;
    this.#msrs[processor] = [wallClockMsr, systemTimeMsr].map(
      (index) => msrs.find((msr) => msr.index === index) ?? { index, value: 0n },
    );
  }

  /** The clocks of a vCPU that begins anew; the counter keeps its frequency. */
  reset(processor: number): ClockState {
    return { ...this.save(processor), tsc: 0n };
  }

  /** Why the clocks cannot be in a state, or undefined; `scales` says whether the host can run counters at any frequency. */
  problem({ tsc, tscFrequency }: ClockState, scales: boolean): string | undefined {
    if (!this.#settable && tsc > readCounter(this.#vcpus[0] as KvmVcpu)) {
      return "the guest's time-stamp counter is ahead of this host's, which this host's KVM gives to guests as it is";
    }
    const wanted = Number(tscFrequency) / 1000;
    // Within what the kernel takes for the same (its parameter tsc_tolerance_ppm).
    const tolerance = this.#frequency * 250e-6;
    return scales || Math.abs(wanted - this.#frequency) <= tolerance
      ? undefined
      : `the guest's time-stamp counter runs at ${wanted} kHz, and this host's only at ${this.#frequency} kHz (it has no TSC scaling)`;
  }

  /** The clock's MSRs of a vCPU that is stopped. */
  msrsOf(processor: number): readonly MsrValue[] {
    return this.#msrs[processor] ?? (this.#vcpus[processor] as KvmVcpu).msrs([wallClockMsr, systemTimeMsr]);
  }

  /** All others. */
  static without(msrs: readonly MsrValue[]): readonly MsrValue[] {
    return msrs.filter(({ index }) => !isClockMsr(index));
  }
}

/** Whether an offset has an effect: the kernel takes one also where it cannot apply it. */
function canSetOffset(vcpu: KvmVcpu): boolean {
  const before = vcpu.tscOffset();
  if (before === undefined) return true;
  const other = BigInt.asUintN(64, before + 1n);
  vcpu.setTscOffset(other);
  const settable = vcpu.tscOffset() === other;
  vcpu.setTscOffset(before);
  return settable;
}

function readCounter(vcpu: KvmVcpu): bigint {
  return vcpu.msrs([timeStampCounter])[0]?.value ?? 0n;
}
