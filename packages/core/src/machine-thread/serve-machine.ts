import type { MessagePort } from "node:worker_threads";
import type { Backend } from "../backend.ts";
import { serializeError } from "../errors.ts";
import { Kernel } from "../kernel.ts";
import { type ExtensionPointName, extensionPoint } from "../plugin.ts";
import { MachineHost } from "./machine-host.ts";
import type { MachineCall, MachineMessage, MachineThreadData } from "./remote-machine.ts";

/** Serves a {@link MachineHost} behind a message port, whose first message says which plugins there are. */
export function serveMachine(port: MessagePort): void {
  port.once("message", (data: MachineThreadData) => begin(port, data));
}

function begin(port: MessagePort, { plugins, preload }: MachineThreadData): void {
  const send = (message: MachineMessage): void => port.postMessage(message);
  const kernel = new Kernel(plugins);
  const host = new MachineHost(kernel, (event) => send({ event }));
  for (const [point, key] of preload) {
    // A failure is told by the call that needs it.
    load(kernel, point as ExtensionPointName, key).catch(() => undefined);
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
}

async function load(kernel: Kernel, point: ExtensionPointName, key: string): Promise<void> {
  const contribution = await kernel.get(extensionPoint(point), key);
  if (point === "backend") {
    await (contribution as Backend).prepare?.();
  }
}
