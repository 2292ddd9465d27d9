import type { VirtualClock } from "@cpr/core";

/** A virtual clock that follows the host's while the VM runs and stands still while it does not. Made stopped. */
export class StoppableClock implements VirtualClock {
  #time: number;
  /** The host's time at the last start, or undefined while it stands still. */
  #since: number | undefined;

  /** @param time - virtual time in nanoseconds */
  constructor(time = 0) {
    this.#time = time;
  }

  now(): number {
    return this.#since === undefined ? this.#time : this.#time + Math.round((performance.now() - this.#since) * 1e6);
  }

  wallClock(): bigint {
    return BigInt(Date.now()) * 1_000_000n;
  }

  start(): void {
    this.#since ??= performance.now();
  }

  stop(): void {
    this.#time = this.now();
    this.#since = undefined;
  }
}
