import type { InterruptLine } from "@cpr/core";

/** An interrupt line that remembers its level and every change of it. */
export class RecordingInterruptLine implements InterruptLine {
  #level = false;
  readonly #changes: boolean[] = [];

  /** The present level: `true` is asserted. */
  get level(): boolean {
    return this.#level;
  }

  /** The levels it changed to, in the order of time. Setting the present level again is no change. */
  get changes(): readonly boolean[] {
    return this.#changes;
  }

  /** How many times it was asserted after being released. */
  get risingEdges(): number {
    return this.#changes.filter((level) => level).length;
  }

  set(level: boolean): void {
    if (level !== this.#level) {
      this.#level = level;
      this.#changes.push(level);
    }
  }
}
