/**
 * Frequency in Hz of the guest's time-stamp counter where nothing asks for another one: it ticks once a nanosecond of the
 * virtual clock.
 */
export const defaultTscFrequency = 1_000_000_000;

/** Frequency in Hz that the divide configuration register of the local APIC's timer divides (Intel SDM Vol. 3A §11.5.4). */
export const apicBusFrequency = 1_000_000_000;

/**
 * The time that passes for the guest, in nanoseconds since the VM was created. It stands still while the VM is
 * stopped and across a checkpoint, and never goes backwards.
 */
export interface VirtualClock {
  /** Nanoseconds as a number: exact up to 104 days. */
  now(): number;
  /** Wall clock time in nanoseconds since 1970-01-01T00:00Z. It does not stand still: it is the host's. */
  wallClock(): bigint;
}

/** A one-shot timer on the virtual clock. */
export interface Timer {
  /** Virtual time at which it fires, or undefined if it is not armed. */
  readonly deadline: number | undefined;
  /** Arms the timer, or moves it. A deadline in the past fires at the next opportunity. */
  arm(deadline: number): void;
  disarm(): void;
}

/** Timers of the devices. Callbacks run on the machine thread, while no guest instruction is executing. */
export interface Timers {
  /** Makes a disarmed timer. `callback` is given the deadline that it was armed for. */
  create(name: string, callback: (deadline: number) => void): Timer;
}
