/** How often a change is told: as often as in QEMU. */
const interval = 1000;

/** Tells of changes of a guest's balloon: the first at once, further ones once a second, and always the last. */
export class BalloonChanges {
  readonly #tell: (actual: number) => void;
  #timer: NodeJS.Timeout | undefined;
  #latest = 0;
  #told = 0;

  constructor(tell: (actual: number) => void) {
    this.#tell = tell;
  }

  /** The guest has that many bytes of RAM left. */
  change(actual: number): void {
    this.#latest = actual;
    if (this.#timer !== undefined) return;
    this.#told = actual;
    this.#tell(actual);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#latest !== this.#told) this.change(this.#latest);
    }, interval).unref();
  }
}
