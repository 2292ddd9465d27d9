import { migrationErrors } from "../errors/migration-errors.ts";
import type { Kernel } from "../kernel.ts";
import { blockedBy } from "../migration/blocked.ts";
import { takeContinuation } from "../migration/continuation.ts";
import { forecastMigration } from "../migration/forecast.ts";
import { IncomingRun } from "../migration/incoming-run.ts";
import type { MigrationObserver, MigrationRecord } from "../migration/migration-record.ts";
import { OutgoingRun, type OutgoingSubject } from "../migration/outgoing-run.ts";
import type { StoredSettings } from "../migration/settings.ts";
import type { SavedRunState } from "../stream/global-state.ts";
import type {
  IncomingOptions,
  MigrationForecast,
  MigrationInformation,
  MigrationStatus,
  OutgoingOptions,
} from "../virtual-machine.ts";

/** What a VM's migrations are made with. */
export interface MigrationsContext {
  readonly kernel: Kernel;
  readonly subject: OutgoingSubject;
  readonly settings: StoredSettings;
  readonly observer: MigrationObserver;
  /** The VM waits to be loaded. */
  readonly incoming: boolean;
}

/** The migrations of one VM: at most one is under way, and the last one is remembered. */
export class Migrations {
  readonly #context: MigrationsContext;
  #incoming: "none" | "waiting" | "loading" | "done";
  #record: MigrationRecord | undefined;
  #outgoing: OutgoingRun | undefined;
  #incomingRun: IncomingRun | undefined;
  #done: Promise<unknown> = Promise.resolve();
  /** The URI of a complete checkpoint that needs the RAM as it is now. */
  #needsRam: string | undefined;
  /** The generation of a complete checkpoint from which this VM goes on, or another one does. */
  #granted: string | undefined;

  constructor(context: MigrationsContext) {
    this.#context = context;
    this.#incoming = context.incoming ? "waiting" : "none";
  }

  /** Whether one is under way. */
  get active(): boolean {
    return this.#record?.active === true;
  }

  /** Fulfilled when none is under way. */
  get done(): Promise<unknown> {
    return this.#done;
  }

  get information(): MigrationInformation {
    const { subject, settings } = this.#context;
    const blockedReasons = blockedBy(subject, settings.mode).map(({ reason }) => reason);
    return this.#record?.information(blockedReasons) ?? { status: "none", mode: settings.mode, blockedReasons };
  }

  /** Begins to save the VM. @throws {CprError} why not. */
  async begin(uri: string, { inPlaceOnly = false, ...overrides }: OutgoingOptions): Promise<void> {
    const { kernel, subject, settings, observer } = this.#context;
    const run = await OutgoingRun.prepare(kernel, subject, settings.effective(overrides), uri, inPlaceOnly, observer);
    // The record of the migration before is kept until this one has passed the judgement.
    const begun = run.begin(() => {
      this.#record = run.record;
      this.#outgoing = run;
    });
    try {
      await begun;
    } catch (error) {
      if (this.#outgoing === run) {
        this.#outgoing = undefined;
      }
      throw error;
    }
    this.#done = run.complete().finally(() => {
      this.#outgoing = undefined;
      if (run.record.status === "completed") {
        this.#needsRam = run.needsRam ? run.uri : undefined;
        this.#granted = run.granted;
      }
    });
  }

  cancel(): void {
    this.#outgoing?.cancel();
    this.#incomingRun?.cancel();
  }

  /** @throws {CprError} ERR_CPR_NOT_EXPECTED_STATE */
  continue(state: MigrationStatus): void {
    const status = this.#record?.status ?? "none";
    if (status !== state) {
      throw migrationErrors.ERR_CPR_NOT_EXPECTED_STATE({ status, expected: state });
    }
    this.#outgoing?.continue();
  }

  forecast(uri: string): Promise<MigrationForecast> {
    const { kernel, subject, settings } = this.#context;
    return forecastMigration(kernel, subject, settings.effective(), uri);
  }

  /**
   * The guest is about to go on: a checkpoint that needs RAM as it was is told to be worth nothing any more, and the devices are told if
   * another VM has gone on from the checkpoint already.
   */
  async guestGoesOn(): Promise<void> {
    if (this.#needsRam !== undefined) {
      this.#record?.notices.push(
        `The checkpoint '${this.#needsRam}' cannot be loaded any more: its RAM was left in place, and the VM has gone on`,
      );
      this.#needsRam = undefined;
    }
    const granted = this.#granted;
    this.#granted = undefined;
    if (granted !== undefined && !takeContinuation(granted)) {
      await this.#context.subject.control.branch();
    }
  }

  /** Claims the right to load the VM; {@link load} does. @throws {CprError} if there is nothing to be loaded. */
  claimLoad(): void {
    if (this.#incoming === "none") {
      throw migrationErrors.ERR_CPR_NOT_INCOMING({});
    }
    if (this.#incoming !== "waiting") {
      throw migrationErrors.ERR_CPR_INCOMING_STARTED({});
    }
    this.#incoming = "loading";
  }

  /**
   * Loads the VM.
   *
   * @param resume - lets it go on as it was saved.
   * @throws {CprError} why it could not be loaded. It waits as before.
   */
  load(uri: string, overrides: IncomingOptions, resume: (saved: SavedRunState) => Promise<void>): Promise<void> {
    const loading = this.#load(uri, overrides, resume);
    this.#done = loading.catch(() => undefined);
    return loading;
  }

  async #load(uri: string, overrides: IncomingOptions, resume: (saved: SavedRunState) => Promise<void>): Promise<void> {
    const { kernel, subject, settings, observer } = this.#context;
    const run = new IncomingRun(kernel, subject, settings.effective(overrides), uri, observer);
    this.#record = run.record;
    this.#incomingRun = run;
    try {
      await run.perform(async (saved) => {
        this.#incoming = "done";
        await resume(saved);
      });
    } catch (error) {
      this.#incoming = "waiting";
      throw error;
    } finally {
      this.#incomingRun = undefined;
    }
  }
}
