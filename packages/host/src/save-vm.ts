import { type CheckpointPurpose, type MigrationForecast, refuse } from "@cpr/core";
import {
  awaitMigration,
  type MigrationSettings,
  type QmpClient,
  readMigrationSettings,
  writeMigrationSettings,
} from "@cpr/monitor";
import { hostErrors } from "./host-errors.ts";
import { closeLate, type RegisteredVm, settledStatus, type VmResult, withinTime } from "./registered-vm.ts";
import { VmProcess } from "./vm-process.ts";

/**
 * Saves a VM to its checkpoint and ends its process.
 *
 * @param interrupt - gives it up.
 * @throws {CprError} why it could not be saved; it runs on then.
 */
export async function saveVm(vm: RegisteredVm, purpose: CheckpointPurpose, interrupt: AbortSignal): Promise<VmResult> {
  const { files, checkpoint } = vm;
  const process = VmProcess.find(files);
  if (process === undefined) {
    return { outcome: "skipped", note: "it does not run" };
  }
  const result = await withinTime(vm, "saved", async (signal): Promise<VmResult> => {
    const client = await process.connect(signal);
    await using _ = closeLate(client, signal);
    const status = await settledStatus(client, checkpoint);
    if (status === "inmigrate") {
      return { outcome: "skipped", note: "it waited for its checkpoint, which is there still" };
    }
    if (status === "postmigrate" && checkpoint.state === "in-use") {
      return { outcome: "saved", note: "it had been saved by a command that was ended before it was done" };
    }
    return await migrate(vm, client, purpose, AbortSignal.any([signal, interrupt]));
  });
  const begun = performance.now();
  await process.end();
  if (checkpoint.state === "in-use") {
    checkpoint.release();
  }
  return { ...result, phases: { ...result.phases, quit: performance.now() - begun } };
}

async function migrate(
  vm: RegisteredVm,
  client: QmpClient,
  purpose: CheckpointPurpose,
  signal: AbortSignal,
): Promise<VmResult> {
  const uri = `file:${vm.checkpoint.pathInUse}`;
  const begun = performance.now();
  const before = await readMigrationSettings(client);
  try {
    const { runState, copies } = await forecast(vm, client, uri, purpose);
    const planned = performance.now();
    await client.execute("migrate", { uri });
    const { ram, downtime = 0, "x-notices": notices = [] } = await awaitMigration(client, { signal });
    const notes = [...copies, ...notices];
    return {
      outcome: "saved",
      ...(notes.length === 0 ? {} : { note: notes.join("; ") }),
      status: runState,
      phases: { plan: planned - begun, save: performance.now() - planned },
      downtime,
      ram: { copied: ram?.transferred ?? 0, inPlace: ram?.["x-in-place"] ?? 0 },
    };
  } catch (error) {
    // Why it failed says more than that the VM, which may have ended, did not get its settings back.
    await writeMigrationSettings(client, before).catch(() => undefined);
    throw error;
  }
}

/** What will be done. */
interface Plan {
  readonly runState: string;
  /** Which RAM is copied and why, a sentence each. */
  readonly copies: readonly string[];
}

/** Chooses what becomes of the RAM, and sets the VM so. @throws {CprError} what it is refused for */
async function forecast(
  { name, files }: RegisteredVm,
  client: QmpClient,
  uri: string,
  purpose: CheckpointPurpose,
): Promise<Plan> {
  const query = async (keepRam: boolean): Promise<MigrationForecast> => {
    await writeMigrationSettings(client, settingsFor(purpose, keepRam));
    return (await client.execute("x-query-migrate-plan", { uri })) as MigrationForecast;
  };
  const inPlace = await query(true);
  const lost = inPlace.refusals.map(({ message }) => `${message}; it is copied`);
  // What may not stay in place can perhaps be copied.
  const { refusals, copied: needed, free, ram, runState } = lost.length === 0 ? inPlace : await query(false);
  refuse(refusals);
  if (free !== undefined && needed > free) {
    throw hostErrors.ERR_CPR_HOST_NO_ROOM({ name, needed, free, path: files.folder });
  }
  const copies = ram.flatMap((block) => (block.inPlace ? [] : [block.reason]));
  return { runState, copies: lost.length === 0 ? copies : lost };
}

function settingsFor(purpose: CheckpointPurpose, keepRam: boolean): MigrationSettings {
  return {
    capabilities: [
      { capability: "x-ignore-shared", state: keepRam },
      { capability: "mapped-ram", state: false },
      { capability: "multifd", state: false },
      { capability: "pause-before-switchover", state: false },
    ],
    parameters: { mode: "cpr-reboot", "x-checkpoint-for": purpose },
  };
}
