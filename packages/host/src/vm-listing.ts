import { isCprError } from "@cpr/core";
import { type HostFolders, vmFiles } from "./host-folders.ts";
import { readReport, type VmReport } from "./host-report.ts";
import { closeLate, statusOf } from "./registered-vm.ts";
import { StoredCheckpoint } from "./stored-checkpoint.ts";
import { readVmDefinition, type VmDefinition } from "./vm-definition.ts";
import { VmProcess } from "./vm-process.ts";

/** A registered VM as it is now. */
export interface VmListing {
  readonly name: string;
  /**
   * How it is in QEMU's words if it has a process, or `unknown` if it does not say. Without one: `saved`, `unsettled` (there is a
   * checkpoint, and the guest may have gone on from it), `failed` or `stopped`.
   */
  readonly state: string;
  /** Undefined if it cannot be read, and `problem` says why. */
  readonly definition?: VmDefinition;
  readonly problem?: string;
  readonly pid?: number;
  /** The socket of QMP, if it has a process. */
  readonly socket?: string;
  readonly checkpoint?: {
    readonly path: string;
    readonly bytes: number;
    /** ISO 8601. */
    readonly made: string;
    /** Bytes of RAM that are in the checkpoint, and that were left in place; undefined if that was not noted. */
    readonly ram?: VmReport["ram"];
  };
  /** What was done with it last. */
  readonly last?: VmReport;
}

/** How long a VM has to say how it is, in milliseconds. */
const patience = 10_000;

/** How a registered VM is now. */
export async function listVm(folders: HostFolders, name: string): Promise<VmListing> {
  const files = vmFiles(folders, name);
  const checkpoint = new StoredCheckpoint(files.checkpoint);
  const found = VmProcess.find(files);
  const last = readReport<VmReport>(files.last);
  const { state, facts } = checkpoint;
  const ram = readReport<VmReport>(files.saved)?.ram;
  const idle = { ready: "saved", "in-use": "unsettled", none: last?.outcome === "failed" ? "failed" : "stopped" };
  return {
    name,
    state: found === undefined ? idle[state] : await answerOf(found),
    ...definitionOf(folders, name),
    ...(found === undefined ? {} : { pid: found.pid, socket: files.socket }),
    ...(facts === undefined ? {} : { checkpoint: ram === undefined ? facts : { ...facts, ram } }),
    ...(last === undefined ? {} : { last }),
  };
}

function definitionOf(folders: HostFolders, name: string): Pick<VmListing, "definition" | "problem"> {
  try {
    return { definition: readVmDefinition(folders, name) };
  } catch (error) {
    if (!isCprError(error)) {
      throw error;
    }
    return { problem: error.message };
  }
}

async function answerOf(process: VmProcess): Promise<string> {
  const signal = AbortSignal.timeout(patience);
  try {
    const client = await process.connect(signal);
    await using _ = closeLate(client, signal, 0);
    return await statusOf(client);
  } catch {
    return "unknown";
  }
}
