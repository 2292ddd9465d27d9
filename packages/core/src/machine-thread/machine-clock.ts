import type { VirtualClock } from "../clock.ts";

const nanosecondsPerMillisecond = 1_000_000;

/** The virtual clock of a machine: the host's monotonic clock without the time during which the machine was stopped. */
export class MachineClock implements VirtualClock {
  /** Virtual time at {@link #since}, or now if the clock stands still. */
  #elapsed = 0;
  /** When the clock was started, on the host's monotonic clock in milliseconds. */
  #since: number | undefined;

  now(): number {
    return this.#since === undefined
      ? this.#elapsed
      : this.#elapsed + Math.floor((performance.now() - this.#since) * nanosecondsPerMillisecond);
  }

  wallClock(): bigint {
    return BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n;
  }

  start(): void {
    this.#since ??= performance.now();
  }

  stop(): void {
    this.#elapsed = this.now();
    this.#since = undefined;
  }

  /** Sets a clock that stands still. */
  set(elapsed: number): void {
    this.#elapsed = elapsed;
  }
}
