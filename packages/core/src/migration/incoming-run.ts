import { migrationErrors } from "../errors/migration-errors.ts";
import { isCprError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import type { SavedRunState } from "../stream/global-state.ts";
import { type IncomingMigration, incomingPhases } from "./incoming.ts";
import { findIntent } from "./intent.ts";
import { type MigrationObserver, MigrationRecord } from "./migration-record.ts";
import { PhaseSequence } from "./phase.ts";
import type { EffectiveSettings } from "./settings.ts";
import type { MigrationSubject } from "./subject.ts";

/** The run of one attempt to load a VM. */
export class IncomingRun {
  readonly record: MigrationRecord;
  readonly #kernel: Kernel;
  readonly #subject: MigrationSubject;
  readonly #settings: EffectiveSettings;
  readonly #uri: string;
  readonly #abort = new AbortController();

  constructor(
    kernel: Kernel,
    subject: MigrationSubject,
    settings: EffectiveSettings,
    uri: string,
    observer: MigrationObserver,
  ) {
    this.#kernel = kernel;
    this.#subject = subject;
    this.#settings = settings;
    this.#uri = uri;
    this.record = new MigrationRecord(settings.mode, observer);
  }

  /**
   * Loads the VM.
   *
   * @param resume - lets the VM go on as it was saved; called when it is loaded.
   * @throws {CprError} why it could not be loaded. The VM waits as before.
   */
  async perform(resume: (saved: SavedRunState) => Promise<void>): Promise<void> {
    try {
      const migration = await this.#prepare();
      const phases = new PhaseSequence(incomingPhases, migration, (status) => {
        this.#abort.signal.throwIfAborted();
        this.record.status = status;
      });
      try {
        await phases.runRest();
      } catch (error) {
        await phases.undo().catch(() => undefined);
        throw error;
      }
      await resume(migration.saved as SavedRunState);
      this.record.status = "completed";
    } catch (error) {
      const failure = this.#failure(error);
      const cancelled = this.#abort.signal.aborted;
      this.record.error = cancelled ? undefined : failure;
      this.record.status = cancelled ? "cancelled" : "failed";
      throw failure;
    }
  }

  /** Gives up; the VM waits as before. */
  cancel(): void {
    if (this.record.active && !this.#abort.signal.aborted) {
      this.record.status = "cancelling";
      this.#abort.abort();
    }
  }

  async #prepare(): Promise<IncomingMigration> {
    const intent = await findIntent(this.#kernel, this.#subject, this.#settings, this.#uri);
    return { ...intent, record: this.record, signal: this.#abort.signal };
  }

  #failure(error: unknown): Error {
    if (this.#abort.signal.aborted) {
      return migrationErrors.ERR_CPR_MIGRATION_CANCELLED({});
    }
    if (isCprError(error)) {
      return error;
    }
    const reason = error instanceof Error ? error.message : String(error);
    return migrationErrors.ERR_CPR_LOAD({ uri: this.#uri, reason }, { cause: error });
  }
}
