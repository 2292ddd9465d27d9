import { QmpClient } from "@cpr/monitor";
import type { Command } from "commander";

/** Gives a command the argument that says which VM it is about. */
export function withVm(command: Command): Command {
  return command.argument("<vm>", "the VM's QMP socket: PATH of its -qmp unix:PATH,server=on,wait=off");
}

/** What a person may write for a socket. @throws {CprError} ERR_CPR_QMP_… */
export function connectToVm(vm: string): Promise<QmpClient> {
  // As it stands behind -qmp, where a comma of the path is written twice, or the path alone.
  const path = /^unix:((?:[^,]|,,)*)/.exec(vm)?.[1]?.replaceAll(",,", ",");
  return QmpClient.connect(path ?? vm);
}
