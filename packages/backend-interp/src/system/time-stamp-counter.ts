import { tscFrequency, type VirtualClock } from "@cpr/core";

/** The guest's time-stamp counter: it follows the virtual clock, and what software writes to it (Intel SDM Vol. 3B §18.17). */
export class TimeStampCounter {
  readonly #clock: VirtualClock;
  /** Told whenever the counter's distance from the clock has changed. */
  readonly #onOffset: (offset: bigint) => void;
  #offset = 0n;
  #adjust = 0n;

  constructor(clock: VirtualClock, onOffset: (offset: bigint) => void) {
    this.#clock = clock;
    this.#onOffset = onOffset;
  }

  /** What the counter is ahead of the clock, in ticks. */
  get offset(): bigint {
    return this.#offset;
  }

  read(): bigint {
    return BigInt.asUintN(64, this.#ticks() + this.#offset);
  }

  /** Software sets the counter, which IA32_TSC_ADJUST shows. */
  write(value: bigint): void {
    const before = this.#offset;
    this.restore(value, this.#adjust);
    this.#adjust = BigInt.asUintN(64, this.#adjust + this.#offset - before);
  }

  /** IA32_TSC_ADJUST: by how much software has moved the counter since reset. */
  get adjust(): bigint {
    return this.#adjust;
  }
  set adjust(value: bigint) {
    this.#setOffset(this.#offset + value - this.#adjust);
    this.#adjust = value;
  }

  /** Makes the counter read `value` now, and IA32_TSC_ADJUST `adjust`: after a reset, or in a restored state. */
  restore(value: bigint, adjust: bigint): void {
    this.#setOffset(value - this.#ticks());
    this.#adjust = adjust;
  }

  #ticks(): bigint {
    return BigInt(Math.floor(this.#clock.now() * (tscFrequency / 1e9)));
  }

  #setOffset(offset: bigint): void {
    this.#offset = BigInt.asIntN(64, offset);
    this.#onOffset(this.#offset);
  }
}
