import type { VirtualClock } from "@cpr/core";

/** A virtual clock that stands still until it is moved. */
export class ManualClock implements VirtualClock {
  /** Wall clock time at virtual time 0. */
  readonly #epoch: bigint;
  #now: number;

  /** @param epoch - nanoseconds since 1970; by default 2024-02-29T12:34:56Z */
  constructor(now = 0, epoch = 1_709_210_096_000_000_000n) {
    this.#now = now;
    this.#epoch = epoch;
  }

  now(): number {
    return this.#now;
  }

  /** Moves along with {@link now}. */
  wallClock(): bigint {
    return this.#epoch + BigInt(Math.round(this.#now));
  }

  /** Moves both times forward. */
  advance(nanoseconds: number): void {
    this.moveTo(this.#now + nanoseconds);
  }

  /** @throws {TypeError} if that is in the past. */
  moveTo(time: number): void {
    if (!(time >= this.#now)) {
      throw new TypeError(`the virtual clock cannot go from ${this.#now} to ${time}`);
    }
    this.#now = time;
  }
}
