import { migrationErrors } from "@cpr/core";

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Hears Ctrl-C, or that the session ends, while there is something to be put back first. A second one ends the process at once. */
export class Interruption implements Disposable {
  readonly #controller = new AbortController();
  readonly #interrupt = (): void => this.#controller.abort();

  constructor() {
    for (const signal of signals) {
      process.once(signal, this.#interrupt);
    }
  }

  /** Given at the first of them. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** @throws {CprError} ERR_CPR_MIGRATION_CANCELLED */
  throwIfInterrupted(): void {
    if (this.signal.aborted) {
      throw migrationErrors.ERR_CPR_MIGRATION_CANCELLED({});
    }
  }

  [Symbol.dispose](): void {
    for (const signal of signals) {
      process.off(signal, this.#interrupt);
    }
  }
}
