import { defaultTscFrequency, type TimestampCounterRate, type VirtualClock } from "@cpr/core";

/** The guest's time-stamp counter: it follows the virtual clock, and what software writes to it (Intel SDM Vol. 3B §18.17). */
export class TimeStampCounter {
  readonly #clock: VirtualClock;
  /** Told whenever the counter's distance from the clock or its frequency has changed. */
  readonly #onRate: (rate: TimestampCounterRate) => void;
  #frequency = defaultTscFrequency;
  #offset = 0n;
  #adjust = 0n;

  constructor(clock: VirtualClock, onRate: (rate: TimestampCounterRate) => void) {
    this.#clock = clock;
    this.#onRate = onRate;
  }

  /** In Hz. */
  get frequency(): number {
    return this.#frequency;
  }

  /** Follow it by {@link restore}. */
  set frequency(frequency: number) {
    this.#frequency = frequency;
  }

  /** How the counter follows the clock. */
  get rate(): TimestampCounterRate {
    return { frequency: this.#frequency, offset: this.#offset };
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

  /** NOTE: a product of floating-point numbers grows with its factors, rounded or not, so the counter never goes backwards. */
  #ticks(): bigint {
    return BigInt(Math.floor(this.#clock.now() * (this.#frequency / 1e9)));
  }

  #setOffset(offset: bigint): void {
    this.#offset = BigInt.asIntN(64, offset);
    this.#onRate(this.rate);
  }
}
