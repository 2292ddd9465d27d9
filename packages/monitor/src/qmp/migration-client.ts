import { setTimeout as delay } from "node:timers/promises";
import { CprError, type ErrorCategory, migrationErrors } from "@cpr/core";
import type { QmpClient } from "./qmp-client.ts";

/** What a client reads of the answer of `query-migrate`. */
export interface MigrationProgress {
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

/** The settings of a VM's migrations, as QMP has them. */
export interface MigrationSettings {
  readonly capabilities: readonly { readonly capability: string; readonly state: boolean }[];
  readonly parameters: Readonly<Record<string, unknown>>;
}

/** The settings as they are now. */
export async function readMigrationSettings(client: QmpClient): Promise<MigrationSettings> {
  const capabilities = (await client.execute("query-migrate-capabilities")) as MigrationSettings["capabilities"];
  const parameters = (await client.execute("query-migrate-parameters")) as MigrationSettings["parameters"];
  return { capabilities, parameters };
}

/** Sets the capabilities and parameters that are named; others are as they were. */
export async function writeMigrationSettings(
  client: QmpClient,
  { capabilities, parameters }: MigrationSettings,
): Promise<void> {
  await client.execute("migrate-set-capabilities", { capabilities });
  await client.execute("migrate-set-parameters", parameters);
}

/** How often a migration is asked after, in milliseconds: often at first, since with RAM in place it is soon done. */
const shortestInterval = 5;
const longestInterval = 100;

/**
 * Waits for the end of a migration that was begun.
 *
 * @param options.signal - gives it up when it is aborted.
 * @param options.progress - is told of each answer before the last.
 * @throws {CprError} why it failed, as the VM tells it; ERR_CPR_MIGRATION_CANCELLED if it was given up.
 */
export async function awaitMigration(
  client: QmpClient,
  options: { readonly signal?: AbortSignal; readonly progress?: (answer: MigrationProgress) => void } = {},
): Promise<MigrationProgress> {
  const { signal, progress } = options;
  const cancel = (): void => void client.execute("migrate_cancel").catch(() => undefined);
  if (signal?.aborted === true) cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  try {
    for (let interval = shortestInterval; ; interval = Math.min(2 * interval, longestInterval)) {
      const answer = (await client.execute("query-migrate")) as MigrationProgress;
      switch (answer.status) {
        case "completed":
          return answer;
        case "cancelled":
          throw migrationErrors.ERR_CPR_MIGRATION_CANCELLED({});
        case "failed":
          throw failureOf(answer);
      }
      progress?.(answer);
      await delay(interval);
    }
  } finally {
    signal?.removeEventListener("abort", cancel);
  }
}

function failureOf({ "error-desc": description = "the migration failed", "x-error": error }: MigrationProgress): Error {
  const { code = "ERR_CPR_SAVE", category = "internal", hint, details = {} } = error ?? {};
  return new CprError(code, category as ErrorCategory, description, { hint, details });
}
