import { existsSync } from "node:fs";
import { join } from "node:path";
import { stateFolder } from "@cpr/core";

/** Where what belongs to the registered VMs is. */
export interface HostFolders {
  /** Outlives a reboot. */
  readonly state: string;
  /** Gone after a reboot: the VMs' sockets, and which processes are theirs. */
  readonly runtime: string;
}

/** The folders of the user who runs this: {@link stateFolder}, and `CPR_RUNTIME_DIRECTORY` or `/run/cpr` or `cpr` in `XDG_RUNTIME_DIR`. */
export function hostFolders(): HostFolders {
  const state = stateFolder();
  const { CPR_RUNTIME_DIRECTORY: given, XDG_RUNTIME_DIR: ofUser = `/run/user/${process.getuid?.()}` } = process.env;
  const isRoot = process.getuid?.() === 0;
  const common = isRoot ? "/run/cpr" : existsSync(ofUser) ? join(ofUser, "cpr") : join(state, "run");
  return { state, runtime: given ?? common };
}

/** The files of one registered VM. */
export interface VmFiles {
  /** All of these but the last two are in it. */
  readonly folder: string;
  readonly definition: string;
  readonly checkpoint: string;
  /** Standard output of the VM's processes: the guest's console, unless the VM's options say where that goes. */
  readonly console: string;
  /** Standard error of the VM's processes. */
  readonly errors: string;
  /** What was done with the VM last. */
  readonly last: string;
  /** How the checkpoint was made. */
  readonly saved: string;
  /** The socket of QMP. */
  readonly socket: string;
  /** Which process is the VM's. */
  readonly process: string;
}

/** The folder that has one of each VM. */
export const vmsFolder = ({ state }: HostFolders): string => join(state, "vms");

export function vmFiles(folders: HostFolders, name: string): VmFiles {
  const folder = join(vmsFolder(folders), name);
  return {
    folder,
    definition: join(folder, "vm.json"),
    checkpoint: join(folder, "checkpoint"),
    console: join(folder, "console.log"),
    errors: join(folder, "errors.log"),
    last: join(folder, "last.json"),
    saved: join(folder, "saved.json"),
    socket: join(folders.runtime, `${name}.qmp`),
    process: join(folders.runtime, `${name}.json`),
  };
}
