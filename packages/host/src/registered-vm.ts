import { awaitMigration, type QmpClient } from "@cpr/monitor";
import { hostErrors } from "./host-errors.ts";
import type { VmFiles } from "./host-folders.ts";
import type { VmReport } from "./host-report.ts";
import type { StoredCheckpoint } from "./stored-checkpoint.ts";
import type { VmDefinition } from "./vm-definition.ts";

/** A VM that is registered on this host. */
export interface RegisteredVm {
  readonly name: string;
  readonly definition: VmDefinition;
  readonly files: VmFiles;
  readonly checkpoint: StoredCheckpoint;
}

/** What came of the work on a VM. */
export type VmResult = Pick<VmReport, "note" | "status" | "phases" | "downtime" | "ram"> & {
  readonly outcome: Exclude<VmReport["outcome"], "failed">;
};

/** How long a VM has to answer when its time is up, in milliseconds, before it is left alone. */
const grace = 10_000;

/**
 * Lets work on a VM take as long as it may.
 *
 * @param what - is to be done: `saved`, `loaded`.
 * @param work - is given a signal that comes when the time is up.
 * @throws {CprError} ERR_CPR_HOST_TIMEOUT if the work fails after that; otherwise why it fails.
 */
export async function withinTime<T>(
  { name, definition: { timeout: seconds } }: RegisteredVm,
  what: string,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const signal = AbortSignal.timeout(seconds * 1000);
  try {
    return await work(signal);
  } catch (cause) {
    throw signal.aborted ? hostErrors.ERR_CPR_HOST_TIMEOUT({ name, seconds, what }, { cause }) : cause;
  }
}

/** Closes a connection some time after the signal has come, so that nobody waits for a VM that answers nothing any more. */
export function closeLate(client: QmpClient, signal: AbortSignal, milliseconds = grace): AsyncDisposable {
  let timer: NodeJS.Timeout | undefined;
  const begin = (): void => {
    timer = setTimeout(() => void client.close(), milliseconds);
  };
  signal.addEventListener("abort", begin, { once: true });
  return {
    [Symbol.asyncDispose]: async () => {
      signal.removeEventListener("abort", begin);
      clearTimeout(timer);
      await client.close();
    },
  };
}

/** How a VM is, in QEMU's words. */
export async function statusOf(client: QmpClient): Promise<string> {
  return ((await client.execute("query-status")) as { status: string }).status;
}

/**
 * How a VM is when what was begun with it has ended: a command that was killed leaves a migration that goes on by itself. If the
 * guest has gone on from its checkpoint, that is removed.
 */
export async function settledStatus(client: QmpClient, checkpoint: StoredCheckpoint): Promise<string> {
  const { status: migration } = (await client.execute("query-migrate")) as { status?: string };
  if (migration !== undefined) {
    // How it ended is seen from how the VM is.
    await awaitMigration(client).catch(() => undefined);
  }
  const status = await statusOf(client);
  if (status !== "inmigrate" && status !== "postmigrate") {
    checkpoint.spend();
  }
  return status;
}
