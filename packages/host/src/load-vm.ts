import { inspectConfiguration, type Kernel } from "@cpr/core";
import { type QmpClient, writeMigrationSettings } from "@cpr/monitor";
import { hostErrors } from "./host-errors.ts";
import { closeLate, type RegisteredVm, settledStatus, statusOf, type VmResult, withinTime } from "./registered-vm.ts";
import { VmProcess } from "./vm-process.ts";

/** How VMs are started. */
export interface StartOptions {
  /** The words of the command `cpr`. */
  readonly program: readonly string[];
}

/** How VMs are loaded. */
export interface LoadOptions extends StartOptions {
  /** Has the transport of checkpoints. */
  readonly kernel: Kernel;
  /** Load also what may be older than what the guest has done since. */
  readonly again: boolean;
  /** Start those afresh that have no checkpoint and are to be started when the host is up. */
  readonly autostart: boolean;
}

/**
 * Starts a VM afresh.
 *
 * @throws {CprError} ERR_CPR_HOST_SAVED, ERR_CPR_HOST_START, ERR_CPR_HOST_TIMEOUT
 */
export async function startVm(vm: RegisteredVm, { program }: StartOptions): Promise<VmResult> {
  const { name, definition, files, checkpoint } = vm;
  if (VmProcess.find(files) !== undefined) {
    return { outcome: "skipped", note: "it has a process already" };
  }
  if (checkpoint.state !== "none") {
    throw hostErrors.ERR_CPR_HOST_SAVED({ name, path: checkpoint.path });
  }
  return withinTime(vm, "started", async (signal): Promise<VmResult> => {
    const begun = performance.now();
    const { client } = await VmProcess.start({ name, definition, files, program, signal });
    await using _ = closeLate(client, signal);
    const status = await statusOf(client);
    return { outcome: "started", status, phases: { start: performance.now() - begun } };
  });
}

/**
 * Carries a VM on from its checkpoint, in a new process.
 *
 * @throws {CprError} why it could not be loaded. There is no process then, and the checkpoint is there still.
 */
export async function loadVm(vm: RegisteredVm, options: LoadOptions): Promise<VmResult> {
  const { name, definition, files, checkpoint } = vm;
  const found = VmProcess.find(files);
  const { state } = checkpoint;
  if (found === undefined && state === "none") {
    return options.autostart && definition.autostart
      ? { ...(await startVm(vm, options)), note: "it had no checkpoint, and was started afresh" }
      : { outcome: "skipped", note: "it has no checkpoint" };
  }
  // A process that waits, or is there still, tells whether the guest has gone on; without one, nobody can.
  const doubtful = found === undefined && state === "in-use";
  if (doubtful && !options.again) {
    throw hostErrors.ERR_CPR_HOST_UNSETTLED({ name, path: checkpoint.pathInUse });
  }
  return withinTime(vm, "loaded", async (signal): Promise<VmResult> => {
    const begun = performance.now();
    const { process, client } =
      found === undefined
        ? await VmProcess.start({ ...options, name, definition, files, more: ["-incoming", "defer"], signal })
        : { process: found, client: await found.connect(signal) };
    await using _ = closeLate(client, signal);
    const started = performance.now();
    const now = await settledStatus(client, checkpoint);
    if (now === "postmigrate" && checkpoint.state === "in-use") {
      // Whoever saved it was ended before it was done.
      await process.end();
      checkpoint.release();
      return loadVm(vm, options);
    }
    if (now !== "inmigrate") {
      return { outcome: "skipped", note: "it has a process already", status: now };
    }
    try {
      await load(vm, process, client, options.kernel, signal);
    } catch (error) {
      const waits = (await statusOf(client).catch(() => undefined)) === "inmigrate";
      await process.end();
      if (waits && !doubtful && checkpoint.state === "in-use") {
        checkpoint.release();
      }
      throw error;
    }
    const loaded = performance.now();
    const status = await statusOf(client);
    checkpoint.spend();
    return { outcome: "loaded", status, phases: { start: started - begun, load: loaded - started } };
  });
}

async function load(
  { checkpoint }: RegisteredVm,
  process: VmProcess,
  client: QmpClient,
  kernel: Kernel,
  signal: AbortSignal,
): Promise<void> {
  const { path, pathInUse } = checkpoint;
  const { capabilities } = await inspectConfiguration(
    kernel,
    `file:${checkpoint.state === "ready" ? path : pathInUse}`,
  );
  await writeMigrationSettings(client, {
    capabilities: ["x-ignore-shared", "mapped-ram"].map((capability) => {
      return { capability, state: capabilities.includes(capability) };
    }),
    parameters: { mode: "cpr-reboot" },
  });
  // NOTE: the client that waits for the load is answered nothing else meanwhile.
  const cancel = async (): Promise<void> => {
    await using other = await process.connect(AbortSignal.timeout(1000));
    await other.execute("migrate_cancel");
  };
  const giveUp = (): void => void cancel().catch(() => undefined);
  signal.throwIfAborted();
  signal.addEventListener("abort", giveUp, { once: true });
  try {
    if (checkpoint.state === "ready") {
      checkpoint.take();
    }
    await client.execute("migrate-incoming", { uri: `file:${pathInUse}`, "exit-on-error": false });
  } finally {
    signal.removeEventListener("abort", giveUp);
  }
}
