import { setTimeout as delay } from "node:timers/promises";
import { CprError, type ErrorCategory, migrationErrors } from "@cpr/core";
import { ProgressBar, type QmpClient } from "@cpr/monitor";

/** What is read of `query-migrate`. */
export interface MigrationAnswer {
  readonly status?: string;
  readonly "total-time"?: number;
  readonly downtime?: number;
  readonly ram?: {
    readonly transferred: number;
    readonly remaining: number;
    readonly total: number;
    readonly "x-in-place"?: number;
  };
  readonly "error-desc"?: string;
  readonly "x-error"?: {
    readonly code: string;
    readonly category: string;
    readonly hint?: string;
    readonly details?: Readonly<Record<string, unknown>>;
  };
  readonly "x-notices"?: readonly string[];
}

/** How often a migration is asked after, in milliseconds. */
const interval = 100;

/** How often a line tells how far it is where there is no terminal, in milliseconds. */
const lineInterval = 5000;

/** How the user is told how far a migration is. */
export interface Follower {
  /** Standard error, unless the user wants to hear nothing. */
  readonly output: NodeJS.WriteStream | undefined;
  /** Bytes that will be copied at most, if that is known: all of RAM is more than a guest has used. */
  readonly expected?: number;
}

/**
 * Waits for the end of a migration, shows how far it is, and gives it up at Ctrl-C.
 *
 * @throws {CprError} why it failed, as the VM tells it; ERR_CPR_MIGRATION_CANCELLED if it was given up.
 */
export async function followMigration(client: QmpClient, { output, expected }: Follower): Promise<MigrationAnswer> {
  const bar = output?.isTTY === true ? new ProgressBar(output) : undefined;
  let told = performance.now();
  const cancel = (): void => void client.execute("migrate_cancel").catch(() => undefined);
  process.on("SIGINT", cancel).on("SIGTERM", cancel);
  try {
    for (;;) {
      const answer = (await client.execute("query-migrate")) as MigrationAnswer;
      const end = endOf(answer);
      if (end !== undefined) {
        return end;
      }
      const { total = 0, transferred = 0, remaining = 0, "x-in-place": inPlace = 0 } = answer.ram ?? {};
      const amount =
        expected === undefined
          ? { done: total - inPlace - remaining, total: total - inPlace }
          : { done: Math.min(transferred, expected), total: expected };
      if (amount.total > 0 && answer.status === "active") {
        bar?.show(amount);
        if (bar === undefined && output !== undefined && performance.now() - told > lineInterval) {
          told = performance.now();
          output.write(`${Math.floor((100 * amount.done) / amount.total)} % of RAM copied\n`);
        }
      }
      await delay(interval);
    }
  } finally {
    bar?.show(undefined);
    process.off("SIGINT", cancel).off("SIGTERM", cancel);
  }
}

/** The answer if the migration is complete, or undefined if it is under way. */
function endOf(answer: MigrationAnswer): MigrationAnswer | undefined {
  switch (answer.status) {
    case "completed":
      return answer;
    case "cancelled":
      throw migrationErrors.ERR_CPR_MIGRATION_CANCELLED({});
    case "failed":
      throw failureOf(answer);
    default:
      return undefined;
  }
}

function failureOf({ "error-desc": description = "the migration failed", "x-error": error }: MigrationAnswer): Error {
  const { code = "ERR_CPR_SAVE", category = "internal", hint, details = {} } = error ?? {};
  return new CprError(code, category as ErrorCategory, description, { hint, details });
}
