import { awaitMigration, type MigrationProgress, ProgressBar, type QmpClient } from "@cpr/monitor";

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
export async function followMigration(client: QmpClient, { output, expected }: Follower): Promise<MigrationProgress> {
  const bar = output?.isTTY === true ? new ProgressBar(output) : undefined;
  let told = performance.now();
  const progress = ({ status, ram }: MigrationProgress): void => {
    const { total = 0, transferred = 0, remaining = 0, "x-in-place": inPlace = 0 } = ram ?? {};
    const amount =
      expected === undefined
        ? { done: total - inPlace - remaining, total: total - inPlace }
        : { done: Math.min(transferred, expected), total: expected };
    if (amount.total > 0 && status === "active") {
      bar?.show(amount);
      if (bar === undefined && output !== undefined && performance.now() - told > lineInterval) {
        told = performance.now();
        output.write(`${Math.floor((100 * amount.done) / amount.total)} % of RAM copied\n`);
      }
    }
  };
  const interrupt = new AbortController();
  const cancel = (): void => interrupt.abort();
  process.on("SIGINT", cancel).on("SIGTERM", cancel);
  try {
    return await awaitMigration(client, { signal: interrupt.signal, progress });
  } finally {
    bar?.show(undefined);
    process.off("SIGINT", cancel).off("SIGTERM", cancel);
  }
}
