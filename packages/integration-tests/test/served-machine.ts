import { join } from "node:path";
import { discoverPlugins, Kernel, MonitorCommand, type VirtualMachine } from "@cpr/core";
import { QmpServer, UnixListener } from "@cpr/monitor";
import { onTestFinished } from "vitest";
import { cprCommand } from "../../../tools/cpr-process.ts";

/** Serves a machine of this process at a QMP socket until the test ends. */
export async function serveAt(socket: string, machine: VirtualMachine): Promise<void> {
  const listener = await UnixListener.listen(socket);
  const kernel = new Kernel(discoverPlugins({ application: join(cprCommand, "../../package.json") }));
  const qmp = new QmpServer(machine, await kernel.all(MonitorCommand));
  listener.serve(({ stream }) => qmp.serve({ input: stream, output: stream }));
  onTestFinished(async () => {
    listener.close();
    await qmp.close();
    await kernel[Symbol.asyncDispose]();
  });
}
