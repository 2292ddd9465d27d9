/** How often a change is told: as often as in QEMU. */
const interval = 1000;

/** Tells of changes of something of the guest's: the first at once, further ones once a second, and always the last. */
export class ChangeTeller<Value> {
  readonly #tell: (value: Value) => void;
  #timer: NodeJS.Timeout | undefined;
  #latest: Value;
  #told: Value;

  /** @param initial - what nobody needs to be told. */
  constructor(initial: Value, tell: (value: Value) => void) {
    this.#latest = initial;
    this.#told = initial;
    this.#tell = tell;
  }

  change(value: Value): void {
    this.#latest = value;
    if (this.#timer !== undefined || value === this.#told) return;
    this.#told = value;
    this.#tell(value);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.change(this.#latest);
    }, interval).unref();
  }
}
