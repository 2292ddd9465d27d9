import {
  apicBusFrequency,
  defaultTscFrequency,
  type LocalApicTimerMode,
  localApicTimerDivisor,
  noDeadline,
  type Timer,
  type Timers,
  type TimestampCounterRate,
  type VirtualClock,
} from "@cpr/core";
import { restoreDeadline, saveDeadline } from "../deadline.ts";

const nanosecond = 1_000_000_000;

/** What of the timer is saved; see {@link localApicState}. */
export interface ApicTimerState {
  divideConfiguration: number;
  initialCount: number;
  timerDeadline: bigint;
  tscDeadline: bigint;
}

/** The timer of a local APIC (Intel SDM Vol. 3A §11.5.4). */
export class ApicTimer {
  readonly #clock: VirtualClock;
  readonly #timer: Timer;
  readonly #fire: () => void;
  #mode: LocalApicTimerMode = "one-shot";
  #divideConfiguration = 0;
  #initialCount = 0;
  #tscDeadline = 0n;
  #timestampCounter: TimestampCounterRate = { frequency: defaultTscFrequency, offset: 0n };

  constructor(name: string, timers: Timers, clock: VirtualClock, fire: () => void) {
    this.#clock = clock;
    this.#fire = fire;
    this.#timer = timers.create(name, (deadline) => this.#expire(deadline));
  }

  reset(): void {
    this.#mode = "one-shot";
    this.#divideConfiguration = 0;
    this.#initialCount = 0;
    this.#tscDeadline = 0n;
    this.#timer.disarm();
  }

  get mode(): LocalApicTimerMode {
    return this.#mode;
  }

  /** Going to or from TSC-deadline mode disarms the timer; between the other two it goes on. */
  set mode(mode: LocalApicTimerMode) {
    if (mode === this.#mode) {
      return;
    }
    if (mode === "tsc-deadline" || this.#mode === "tsc-deadline") {
      this.#timer.disarm();
      this.#tscDeadline = 0n;
      this.#initialCount = 0;
    }
    this.#mode = mode;
  }

  get initialCount(): number {
    return this.#initialCount;
  }

  /** Starts the count; 0 stops it. Ignored in TSC-deadline mode. */
  set initialCount(count: number) {
    if (this.#mode === "tsc-deadline") {
      return;
    }
    this.#initialCount = count;
    if (count === 0) {
      this.#timer.disarm();
    } else {
      this.#timer.arm(this.#clock.now() + this.#duration(count));
    }
  }

  get currentCount(): number {
    const { deadline } = this.#timer;
    if (deadline === undefined || this.#mode === "tsc-deadline") {
      return 0;
    }
    const left = Math.max(0, deadline - this.#clock.now());
    const count = Math.ceil((left * (apicBusFrequency / nanosecond)) / this.#divisor());
    return Math.min(count, this.#initialCount);
  }

  get divideConfiguration(): number {
    return this.#divideConfiguration;
  }

  /** The present count goes on from where it is at the new rate. */
  set divideConfiguration(value: number) {
    const count = this.currentCount;
    this.#divideConfiguration = value & 0x0b;
    if (count !== 0) {
      this.#timer.arm(this.#clock.now() + this.#duration(count));
    }
  }

  /** IA32_TSC_DEADLINE: in ticks of the guest's time-stamp counter, 0 if not armed. */
  get tscDeadline(): bigint {
    return this.#tscDeadline;
  }

  /** Ignored unless in TSC-deadline mode. */
  set tscDeadline(deadline: bigint) {
    if (this.#mode === "tsc-deadline") {
      this.#tscDeadline = deadline;
      this.#armDeadline();
    }
  }

  get timestampCounter(): TimestampCounterRate {
    return this.#timestampCounter;
  }

  set timestampCounter(rate: TimestampCounterRate) {
    this.#timestampCounter = rate;
    if (this.#mode === "tsc-deadline") {
      this.#armDeadline();
    }
  }

  save(): ApicTimerState {
    return {
      divideConfiguration: this.#divideConfiguration,
      initialCount: this.#initialCount,
      timerDeadline: this.#mode === "tsc-deadline" ? noDeadline : saveDeadline(this.#timer),
      tscDeadline: this.#tscDeadline,
    };
  }

  restore(state: ApicTimerState, mode: LocalApicTimerMode): void {
    this.#mode = mode;
    this.#divideConfiguration = state.divideConfiguration;
    this.#initialCount = state.initialCount;
    this.#tscDeadline = state.tscDeadline;
    if (mode === "tsc-deadline") this.#armDeadline();
    else restoreDeadline(this.#timer, state.timerDeadline);
  }

  #divisor(): number {
    return localApicTimerDivisor(this.#divideConfiguration);
  }

  /** Nanoseconds that a count lasts. */
  #duration(count: number): number {
    return Math.ceil(count * this.#divisor() * (nanosecond / apicBusFrequency));
  }

  #armDeadline(): void {
    if (this.#tscDeadline === 0n) {
      this.#timer.disarm();
      return;
    }
    const ticks = this.#tscDeadline - this.#timestampCounter.offset;
    const frequency = BigInt(this.#timestampCounter.frequency);
    const time = ticks <= 0n ? 0 : Number((ticks * BigInt(nanosecond) + frequency - 1n) / frequency);
    this.#timer.arm(Math.min(time, Number.MAX_SAFE_INTEGER));
  }

  #expire(deadline: number): void {
    if (this.#mode === "periodic" && this.#initialCount !== 0) {
      const period = this.#duration(this.#initialCount);
      // Periods that passed while the host was busy are gone: the interrupt would have been pending all along.
      const missed = Math.max(0, Math.floor((this.#clock.now() - deadline) / period));
      this.#timer.arm(deadline + (missed + 1) * period);
    }
    if (this.#mode === "tsc-deadline") {
      this.#tscDeadline = 0n;
    }
    this.#fire();
  }
}
