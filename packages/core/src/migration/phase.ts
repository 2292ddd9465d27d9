import type { MigrationStatus } from "../virtual-machine.ts";

/** A step of a migration. The lists of phases are the documentation of what happens, and in which order. */
export interface Phase<Context> {
  readonly name: string;
  /** The status that the migration has from the beginning of this phase on. */
  readonly status?: MigrationStatus;
  /** The phase is over before the monitor's command is answered. */
  readonly foreground?: true;
  /** Whether there is anything to do; if not, the phase is left out and the status stays. */
  needed?(context: Context): boolean;
  run(context: Context): Promise<void> | void;
  /** Takes back what the phase has done, also when it failed half-way. Called in reverse order. */
  undo?(context: Context): Promise<void>;
}

/** Performs phases one after another and remembers which ones have begun, to be able to take them back. */
export class PhaseSequence<Context> {
  readonly #phases: readonly Phase<Context>[];
  readonly #context: Context;
  readonly #onStatus: (status: MigrationStatus) => void;
  #next = 0;

  constructor(phases: readonly Phase<Context>[], context: Context, onStatus: (status: MigrationStatus) => void) {
    this.#phases = phases;
    this.#context = context;
    this.#onStatus = onStatus;
  }

  /** Runs the phases that come before the answer of the command. */
  async runForeground(): Promise<void> {
    await this.#runWhile((phase) => phase.foreground === true);
  }

  /** Runs all that are left. */
  async runRest(): Promise<void> {
    await this.#runWhile(() => true);
  }

  /** Takes back all phases that have begun, the last one first. All of them are tried; the first failure is thrown. */
  async undo(): Promise<void> {
    const failures: unknown[] = [];
    for (const phase of this.#phases.slice(0, this.#next).reverse()) {
      try {
        await phase.undo?.(this.#context);
      } catch (error) {
        failures.push(error);
      }
    }
    this.#next = 0;
    if (failures.length > 0) {
      throw failures[0];
    }
  }

  async #runWhile(condition: (phase: Phase<Context>) => boolean): Promise<void> {
    for (;;) {
      const phase = this.#phases[this.#next];
      if (phase === undefined || !condition(phase)) {
        return;
      }
      this.#next += 1;
      if (phase.needed?.(this.#context) === false) {
        continue;
      }
      if (phase.status !== undefined) {
        this.#onStatus(phase.status);
      }
      await phase.run(this.#context);
    }
  }
}

/** Waits for a promise, but not longer than until the signal is given. */
export async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  // NOTE: who loses the race may fail later, unheard; and so may one that was begun too late. Node would end the process, and the
  // guest with it.
  promise.catch(() => undefined);
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
