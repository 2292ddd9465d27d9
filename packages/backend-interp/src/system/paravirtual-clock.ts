import type { VirtualClock } from "@cpr/core";
import type { PhysicalMemory } from "./physical-memory.ts";
import type { TimeStampCounter } from "./time-stamp-counter.ts";

/** MSR_KVM_WALL_CLOCK_NEW and MSR_KVM_SYSTEM_TIME_NEW (KVM msr.rst). */
export const clockMsr = { wallClock: 0x4b56_4d00, systemTime: 0x4b56_4d01 } as const;

/** Whether an MSR is the clock's. */
export function isClockMsr(index: number): boolean {
  return index === clockMsr.wallClock || index === clockMsr.systemTime;
}

const pageSize = 0x1000;
const nanosecond = 1_000_000_000;
/** Bytes of `struct pvclock_vcpu_time_info`. */
const timeInfoSize = 32;
/** PVCLOCK_TSC_STABLE_BIT: the readings of all vCPUs are in order. */
const stable = 1;

/** What the clock needs of its vCPU. */
export interface ParavirtualClockOwner {
  readonly physical: PhysicalMemory;
  readonly clock: VirtualClock;
  readonly timeStamp: TimeStampCounter;
}

/**
 * kvmclock of one vCPU (KVM msr.rst): the guest names a place in its RAM, and finds there how its time-stamp counter becomes
 * nanoseconds. Both follow the virtual clock, so that what is written once stays right until the counter is moved.
 */
export class ParavirtualClock {
  readonly #owner: ParavirtualClockOwner;
  /** What the guest is told beyond the virtual clock's time. */
  #offset = 0;
  #systemTime = 0n;
  #wallClock = 0n;

  constructor(owner: ParavirtualClockOwner) {
    this.#owner = owner;
  }

  reset(): void {
    this.#systemTime = 0n;
    this.#wallClock = 0n;
  }

  /** Undefined if the MSR is not the clock's. */
  read(index: number): bigint | undefined {
    if (index === clockMsr.systemTime) return this.#systemTime;
    return index === clockMsr.wallClock ? this.#wallClock : undefined;
  }

  /** Whether the MSR is the clock's, which takes any value. */
  write(index: number, value: bigint): boolean {
    if (index === clockMsr.systemTime) {
      this.#systemTime = value;
      this.update();
      return true;
    }
    if (index !== clockMsr.wallClock) return false;
    this.#wallClock = value;
    this.#writeWallClock(Number(value));
    return true;
  }

  /** The time that the guest reads now, in nanoseconds. */
  get now(): number {
    return this.#owner.clock.now() + this.#offset;
  }

  /** Makes the clock show `now` from here on, and the MSRs what they were. */
  restore(now: number, systemTime: bigint, wallClock: bigint): void {
    this.#offset = now - this.#owner.clock.now();
    this.#systemTime = systemTime;
    this.#wallClock = wallClock;
  }

  /** Tells the guest anew how its counter becomes nanoseconds: after it was moved. */
  update(): void {
    if ((this.#systemTime & 1n) === 0n) return;
    const { timeStamp } = this.#owner;
    const view = this.#view(Number(this.#systemTime & ~1n), timeInfoSize);
    if (view === undefined) return;
    const { multiplier, shift } = scale(timeStamp.frequency);
    view.setUint32(0, (view.getUint32(0, true) + 2) & ~1, true);
    view.setBigUint64(8, timeStamp.read(), true);
    view.setBigUint64(16, BigInt(this.now), true);
    view.setUint32(24, multiplier, true);
    view.setInt8(28, shift);
    view.setUint8(29, stable);
  }

  /** `struct pvclock_wall_clock`: the wall clock's time at the clock's zero. */
  #writeWallClock(address: number): void {
    const view = this.#view(address, 12);
    if (view === undefined) return;
    const time = this.#owner.clock.wallClock() - BigInt(this.now);
    view.setUint32(0, (view.getUint32(0, true) + 2) & ~1, true);
    view.setUint32(4, Number(time / BigInt(nanosecond)), true);
    view.setUint32(8, Number(time % BigInt(nanosecond)), true);
  }

  /** A piece of RAM inside one page; undefined if it is none: the guest's mistake, which has no effect. */
  #view(address: number, size: number): DataView | undefined {
    const within = address % pageSize;
    const offset = within + size <= pageSize ? this.#owner.physical.ramOffset(address - within) : -1;
    if (offset < 0) return undefined;
    const { buffer, byteOffset } = this.#owner.physical.ram.u8;
    return new DataView(buffer, byteOffset + offset + within, size);
  }
}

/** The multiplier, a fraction of 2^32, and the shift before it that turn ticks of a frequency in Hz into nanoseconds. */
function scale(frequency: number): { multiplier: number; shift: number } {
  let ticks = frequency;
  let shift = 0;
  while (ticks > 2 * nanosecond) {
    ticks /= 2;
    shift -= 1;
  }
  while (ticks <= nanosecond) {
    ticks *= 2;
    shift += 1;
  }
  return { multiplier: Math.floor((nanosecond / ticks) * 2 ** 32), shift };
}
