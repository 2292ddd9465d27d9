import { migrationErrors } from "../errors/migration-errors.ts";
import { isCprError } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { findIntent } from "./intent.ts";
import { type MigrationObserver, MigrationRecord } from "./migration-record.ts";
import { type OutgoingMigration, outgoingPhases } from "./outgoing.ts";
import { PhaseSequence } from "./phase.ts";
import type { OutgoingIntent } from "./preflight.ts";
import type { EffectiveSettings } from "./settings.ts";
import type { MigrationSubject } from "./subject.ts";

/** A VM that is saved, and told when that is complete. */
export interface OutgoingSubject extends MigrationSubject {
  migrationCompleted(): void;
}

/** The run of one outgoing migration from its command to its end. */
export class OutgoingRun {
  readonly record: MigrationRecord;
  readonly #subject: OutgoingSubject;
  readonly #migration: OutgoingMigration;
  readonly #phases: PhaseSequence<OutgoingMigration>;
  readonly #abort = new AbortController();
  readonly #continued = Promise.withResolvers<void>();
  #onBegin: () => void = () => undefined;

  private constructor(subject: OutgoingSubject, intent: OutgoingIntent, observer: MigrationObserver) {
    this.#subject = subject;
    this.record = new MigrationRecord(intent.mode.name, observer);
    const { promise: continued } = this.#continued;
    this.#migration = { ...intent, record: this.record, signal: this.#abort.signal, continued };
    this.#phases = new PhaseSequence(outgoingPhases, this.#migration, (status) => {
      // One that is being cancelled does not become active again.
      this.#abort.signal.throwIfAborted();
      if (status === "setup") {
        this.#onBegin();
      }
      this.record.status = status;
    });
  }

  /** Finds what the command names. @throws {CprError} if the URI, its transport or the mode are not known. */
  static async prepare(
    kernel: Kernel,
    subject: OutgoingSubject,
    settings: EffectiveSettings,
    text: string,
    inPlaceOnly: boolean,
    observer: MigrationObserver,
  ): Promise<OutgoingRun> {
    const intent = await findIntent(kernel, subject, settings, text);
    const place = await intent.transport.examine?.(intent.uri);
    return new OutgoingRun(subject, { ...intent, inPlaceOnly, place }, observer);
  }

  /**
   * Does what comes before the answer of the command.
   *
   * @param onBegin - called when the migration has passed the judgement and counts as begun.
   * @throws {CprError} why it was refused, or why the URI cannot be opened. The VM runs on.
   */
  async begin(onBegin: () => void): Promise<void> {
    this.#onBegin = onBegin;
    try {
      await this.#phases.runForeground();
    } catch (error) {
      const failure = this.#failure(error);
      if (this.record.status !== "none") {
        await this.#fail(failure);
      }
      throw failure;
    }
  }

  /** Does the rest. It never fails: what goes wrong is in the record. */
  async complete(): Promise<void> {
    try {
      await this.#phases.runRest();
    } catch (error) {
      await this.#fail(this.#failure(error));
      return;
    }
    this.#subject.migrationCompleted();
    this.record.status = "completed";
  }

  /** The URI, as the user wrote it. */
  get uri(): string {
    return this.#migration.uri.text;
  }

  /** Whether the checkpoint needs RAM that was left in place. */
  get needsRam(): boolean {
    return this.#migration.facts?.ram.some(({ inPlace }) => inPlace) === true;
  }

  /** The generation of the checkpoint from which either this VM or another one goes on as if nothing had happened, if that matters. */
  get granted(): string | undefined {
    return this.#migration.granted;
  }

  /** Lets a migration go on that waits in pre-switchover; there is no such thing as a word in advance. */
  continue(): void {
    if (this.record.status === "pre-switchover") {
      this.#continued.resolve();
    }
  }

  cancel(): void {
    if (this.record.active && !this.#abort.signal.aborted) {
      this.record.status = "cancelling";
      this.#abort.abort();
    }
  }

  async #fail(failure: Error): Promise<void> {
    const cancelled = this.#abort.signal.aborted;
    this.record.error = cancelled ? undefined : failure;
    // NOTE: as in QEMU, the event of a failure comes before RESUME, that of a cancellation after it.
    if (!cancelled) {
      this.record.status = "failed";
    }
    try {
      await this.#phases.undo();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.record.notices.push(`The VM could not be made what it was before: ${reason}`);
    }
    if (cancelled) {
      this.record.status = "cancelled";
    }
  }

  #failure(error: unknown): Error {
    if (this.#abort.signal.aborted) {
      return migrationErrors.ERR_CPR_MIGRATION_CANCELLED({});
    }
    if (isCprError(error)) {
      return error;
    }
    const reason = error instanceof Error ? error.message : String(error);
    return migrationErrors.ERR_CPR_SAVE({ uri: this.#migration.uri.text, reason }, { cause: error });
  }
}
