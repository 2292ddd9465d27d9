/** What takes part in turns: a vCPU. */
export interface TurnTaker {
  /** Whether it would execute anything now. */
  hasWork(): boolean;
}

/**
 * Whose turn it is among the vCPUs of a machine, which share a thread. They take turns in the order of their indices; those
 * that have nothing to do are passed over. The more of them want to execute, the shorter each turn is, so that going round
 * takes no longer than {@link round}.
 */
export class Turns<T extends TurnTaker> {
  readonly #all: readonly T[];
  /** Nanoseconds of virtual time in which each vCPU that has work gets a turn. */
  readonly round: number;
  #index = 0;
  /** Virtual time at which the current turn is over. */
  #end = Number.NEGATIVE_INFINITY;

  constructor(all: readonly T[], round: number) {
    this.#all = all;
    this.round = round;
  }

  /** The vCPU that was chosen last. */
  get current(): T {
    return this.#all[this.#index] as T;
  }

  /** The vCPU that executes at a virtual time: the current one until its turn is over. Undefined if none has work. */
  next(now: number): T | undefined {
    if (now < this.#end && this.current.hasWork()) return this.current;
    const count = this.#all.length;
    let chosen: number | undefined;
    let wanting = 0;
    for (let distance = 1; distance <= count; distance++) {
      const index = (this.#index + distance) % count;
      if (this.#all[index]?.hasWork() !== true) continue;
      wanting += 1;
      chosen ??= index;
    }
    if (chosen === undefined) return undefined;
    this.#index = chosen;
    this.#end = now + this.round / wanting;
    return this.current;
  }

  /** Nanoseconds that are left of the current turn. */
  left(now: number): number {
    return this.#end - now;
  }

  /** Ends the current turn early: {@link next} looks at the other vCPUs first. */
  giveUp(): void {
    this.#end = Number.NEGATIVE_INFINITY;
  }
}
