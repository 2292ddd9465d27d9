/** Instructions of a slice: at least so many, so that the overhead is small; at most so many, so that none is long. */
const leastInstructions = 2_000;
const mostInstructions = 2_000_000;
/** Instructions a nanosecond, before any was measured. */
const assumedRate = 0.03;

/** How fast a vCPU executes, learnt from what it has executed of late. */
export class InstructionRate {
  #rate = assumedRate;

  /** The length in instructions of a slice that is to take so many nanoseconds. */
  instructionsIn(time: number): number {
    return Math.ceil(Math.min(Math.max(time * this.#rate, leastInstructions), mostInstructions));
  }

  /** Learns from a slice. */
  measured(executed: number, elapsed: number): void {
    if (executed < leastInstructions || elapsed <= 0) return;
    // NOTE: down at once, because a slice that is too long keeps messages waiting.
    const measured = executed / elapsed;
    this.#rate = measured < this.#rate ? measured : this.#rate + (measured - this.#rate) / 8;
  }
}
