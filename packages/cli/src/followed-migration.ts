import { setTimeout as delay } from "node:timers/promises";
import { awaitMigration, type MigrationProgress, ProgressBar, type QmpClient } from "@cpr/monitor";
import { connectToVm } from "./vm-connection.ts";

/** How often a migration that is being opened is told to give up, in milliseconds. */
const interval = 100;

/** How often a line tells how far it is where there is no terminal, in milliseconds. */
const lineInterval = 5000;

/** How the user is told how far a migration is, and gives it up. */
export interface Follower {
  /** Standard error, unless the user wants to hear nothing. */
  readonly output: NodeJS.WriteStream | undefined;
  /** Bytes that will be copied at most, if that is known: all of RAM is more than a guest has used. */
  readonly expected?: number;
  /** Given when the user gives it up. */
  readonly signal: AbortSignal;
}

/**
 * Waits until `migrate` is answered, which opens the place first. If the user gives up meanwhile, so does the VM.
 *
 * @param vm - its QMP socket: the client that waits for an answer cannot ask for anything else.
 * @throws {CprError} why it was refused; ERR_CPR_MIGRATION_CANCELLED if it was given up.
 */
export async function beginMigration(client: QmpClient, vm: string, uri: string, signal: AbortSignal): Promise<void> {
  const begun = client.execute("migrate", { uri });
  const answered = begun.then(
    () => true,
    () => true,
  );
  const { promise: aborted, resolve } = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => resolve(), { once: true });
  await Promise.race([answered, aborted]);
  if (signal.aborted) {
    await using other = await connectToVm(vm);
    // Until there is a migration, there is nothing to cancel.
    while (!(await Promise.race([answered, delay(interval, false)]))) {
      await other.execute("migrate_cancel");
    }
  }
  await begun;
}

/**
 * Waits for the end of a migration, shows how far it is, and gives it up when the user does.
 *
 * @throws {CprError} why it failed, as the VM tells it; ERR_CPR_MIGRATION_CANCELLED if it was given up.
 */
export async function followMigration(
  client: QmpClient,
  { output, expected, signal }: Follower,
): Promise<MigrationProgress> {
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
  try {
    return await awaitMigration(client, { signal, progress });
  } finally {
    bar?.show(undefined);
  }
}
