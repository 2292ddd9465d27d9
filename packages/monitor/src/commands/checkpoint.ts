import { isCprError, type streamErrors, type VirtualMachine } from "@cpr/core";
import { defineCommand } from "../define-command.ts";
import { fileUri } from "../migration-channels.ts";
import { monitorErrors } from "../monitor-errors.ts";

/** What the commands of before there were migration modes mean in today's terms. */
const reboot = { mode: "cpr-reboot", capabilities: ["x-ignore-shared"] } as const;

const filename = { name: "filename", type: "string", summary: "the file of the checkpoint" } as const;

/** `cpr-save` / `cpr_save`: the older way to save a VM, all of whose RAM stays in place; it answers when it is done. */
export const CprSaveCommand = defineCommand({
  name: "cpr-save",
  words: "cpr_save",
  summary: "create a checkpoint of the VM in a file; guest RAM stays where it is",
  arguments: [
    filename,
    { name: "mode", type: "string", summary: "what the RAM outlives: reboot", complete: () => ["reboot"] },
  ],
  execute: async ({ machine }, values) => {
    if (values["mode"] !== "reboot") {
      const problem = `Parameter 'mode' does not accept value '${String(values["mode"])}'`;
      throw monitorErrors.ERR_CPR_QMP_ARGUMENT({ problem });
    }
    if (machine.settings.capabilities().get("x-colo") === true) {
      throw monitorErrors.ERR_CPR_SAVE_COLO({});
    }
    await machine.migrate(fileUri(String(values["filename"]), 0), { ...reboot, inPlaceOnly: true });
    const { status, errorDescription, error } = await machine.migrationDone();
    if (status !== "completed") {
      throw error ?? monitorErrors.ERR_CPR_SAVE_ENDED({ reason: errorDescription ?? `migration ${status}` });
    }
  },
});

/** `cpr-load` / `cpr_load`: the other side of `cpr-save`. */
export const CprLoadCommand = defineCommand({
  name: "cpr-load",
  words: "cpr_load",
  summary: "start the VM from a checkpoint that was created with cpr-save",
  arguments: [filename],
  execute: async ({ machine }, values) => {
    if (machine.runState === "running") {
      throw monitorErrors.ERR_CPR_LOAD_RUNNING({});
    }
    await load(machine, String(values["filename"]));
  },
});

/** The errors that say of a file that it is something else altogether. */
const foreign: ReadonlySet<string> = new Set(["ERR_CPR_STREAM_MAGIC"] satisfies (keyof typeof streamErrors)[]);

async function load(machine: VirtualMachine, name: string): Promise<void> {
  try {
    await machine.migrateIncoming(fileUri(name, 0), reboot);
  } catch (error) {
    if (isCprError(error) && foreign.has(error.code)) {
      throw monitorErrors.ERR_CPR_LOAD_FOREIGN({ filename: name }, { cause: error });
    }
    throw error;
  }
}
