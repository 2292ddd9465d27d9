/** Milliseconds in which things of one kind are told once. */
const quiet = 1000;

/** Keeps what a guest can bring about again and again from being told each time. */
export class QuietTime {
  readonly #told = new Map<string, number>();

  /** Whether something of that kind may be told now; it counts as told then. */
  mayTell(kind: string): boolean {
    const now = performance.now();
    if (now - (this.#told.get(kind) ?? Number.NEGATIVE_INFINITY) < quiet) return false;
    this.#told.set(kind, now);
    return true;
  }
}
