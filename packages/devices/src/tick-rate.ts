const second = 1_000_000_000;

/**
 * Counts the ticks of a fixed frequency since virtual time 0, and back, without rounding errors that add up: both
 * products stay below 2^53 for frequencies up to 9 MHz.
 */
export class TickRate {
  /** In Hz. */
  readonly frequency: number;

  constructor(frequency: number) {
    this.frequency = frequency;
  }

  /** How many whole ticks have passed at a virtual time in nanoseconds. */
  ticksAt(now: number): number {
    const seconds = Math.floor(now / second);
    return seconds * this.frequency + Math.floor(((now - seconds * second) * this.frequency) / second);
  }

  /** The first nanosecond at which {@link ticksAt} gives `ticks`. */
  timeOf(ticks: number): number {
    const seconds = Math.floor(ticks / this.frequency);
    return seconds * second + Math.ceil(((ticks - seconds * this.frequency) * second) / this.frequency);
  }
}
