import { pageSize } from "../stream/format.ts";
import type { RamProgress } from "../stream/ram-section.ts";
import type { MigrationInformation, MigrationStatus } from "../virtual-machine.ts";

/** Who wants to know how a migration gets on. */
export interface MigrationObserver {
  status(status: MigrationStatus): void;
  /** RAM is gone through for the n-th time. */
  pass(pass: number): void;
}

/** What is remembered of a migration, outgoing or incoming: what `query-migrate` tells. */
export class MigrationRecord {
  readonly mode: string;
  /** Counts while RAM is copied. */
  readonly progress: RamProgress = { scanned: 0, normalPages: 0, zeroPages: 0 };
  /** Bytes of RAM: of all, and of that which is copied. */
  ramTotal = 0;
  ramCopied = 0;
  /** One line each, for the user. */
  readonly notices: string[] = [];
  error: Error | undefined;
  readonly #begun = performance.now();
  readonly #observer: MigrationObserver;
  #status: MigrationStatus = "none";
  #passes = 0;
  #setUp: number | undefined;
  #stopped: number | undefined;
  #ended: number | undefined;

  constructor(mode: string, observer: MigrationObserver) {
    this.mode = mode;
    this.#observer = observer;
  }

  get status(): MigrationStatus {
    return this.#status;
  }

  /** Whether the migration is under way. */
  get active(): boolean {
    return ["setup", "active", "pre-switchover", "device", "cancelling"].includes(this.#status);
  }

  set status(status: MigrationStatus) {
    this.#status = status;
    if (status === "active") {
      this.#setUp ??= performance.now();
    } else if (!this.active) {
      this.#ended = performance.now();
    }
    this.#observer.status(status);
  }

  /** RAM begins to be gone through. */
  beginPass(): void {
    this.#passes += 1;
    this.#observer.pass(this.#passes);
  }

  /** The guest has stopped: its downtime begins. */
  guestStopped(): void {
    this.#stopped = performance.now();
  }

  information(blockedReasons: readonly string[]): MigrationInformation {
    const { normalPages, zeroPages, scanned } = this.progress;
    const completed = this.#status === "completed";
    const now = this.#ended ?? performance.now();
    return {
      status: this.#status,
      mode: this.mode,
      totalTime: now - this.#begun,
      ...(this.#setUp === undefined ? {} : { setupTime: this.#setUp - this.#begun }),
      ...(completed && this.#stopped !== undefined ? { downtime: now - this.#stopped } : {}),
      ...(this.ramTotal === 0
        ? {}
        : {
            ram: {
              total: this.ramTotal,
              transferred: normalPages * pageSize,
              remaining: completed ? 0 : Math.max(this.ramCopied - scanned, 0),
              inPlace: this.ramTotal - this.ramCopied,
              zeroPages,
              normalPages,
              passes: this.#passes,
            },
          }),
      ...(this.error === undefined ? {} : { errorDescription: this.error.message, error: this.error }),
      ...(this.notices.length === 0 ? {} : { notices: this.notices }),
      blockedReasons,
    };
  }
}
