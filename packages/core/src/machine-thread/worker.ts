/**
 * What the machine thread executes: a {@link MachineHost} behind a message port.
 *
 * @packageDocumentation
 */
import { parentPort, workerData } from "node:worker_threads";
import { serializeError } from "../errors.ts";
import { Kernel } from "../kernel.ts";
import { type ExtensionPointName, extensionPoint } from "../plugin.ts";
import { MachineHost } from "./machine-host.ts";
import type { MachineCall, MachineMessage, MachineThreadData } from "./remote-machine.ts";

const port = parentPort;
if (port === null) {
  throw new TypeError("this module is the entry of a worker thread");
}
const { plugins, preload } = workerData as MachineThreadData;
const send = (message: MachineMessage): void => port.postMessage(message);
const kernel = new Kernel(plugins);
const host = new MachineHost(kernel, (event) => send({ event }));

for (const [point, key] of preload) {
  // A failure is told by the call that needs it.
  kernel.get(extensionPoint(point as ExtensionPointName), key).catch(() => undefined);
}

// Calls begin in the order in which they arrive, but do not wait for each other: `close` ends one that hangs.
port.on("message", async ({ call, method, parameters }: MachineCall) => {
  try {
    const perform = host[method] as (...parameters: readonly unknown[]) => Promise<unknown>;
    const result = await perform.apply(host, [...parameters]);
    send({ call, result });
    if (method === "close") {
      await kernel[Symbol.asyncDispose]();
      port.close();
    }
  } catch (error) {
    send({ call, error: serializeError(error) });
  }
});
