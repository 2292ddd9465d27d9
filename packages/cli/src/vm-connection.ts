import { QmpClient } from "@cpr/monitor";
import type { Command } from "commander";

/** Gives a command the argument that says which VM it is about. */
export function withVm(command: Command): Command {
  return command.argument("<vm>", "the VM's QMP socket: PATH of its -qmp unix:PATH,server=on,wait=off");
}

/** @throws {CprError} ERR_CPR_QMP_… */
export function connectToVm(vm: string): Promise<QmpClient> {
  return QmpClient.connect(socketPath(vm));
}

/** The VM's runstate. */
export async function statusOf(client: QmpClient): Promise<string> {
  return ((await client.execute("query-status")) as { status: string }).status;
}

/** The path in what a person may write for a socket: as it stands behind -qmp, where a comma is written twice, or the path alone. */
export function socketPath(vm: string): string {
  return /^unix:((?:[^,]|,,)*)/.exec(vm)?.[1]?.replaceAll(",,", ",") ?? vm;
}
