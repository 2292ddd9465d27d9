import type { MessagePort } from "node:worker_threads";
import { Backend } from "../backend.ts";
import { serializeError } from "../errors.ts";
import { Kernel } from "../kernel.ts";
import { copyChunks } from "./chunk-copier.ts";
import type { CopyJob, CopyMessage, CopyThreadData } from "./copy-job.ts";

/** Finds the RAM of the VM, tells that it is there, and then carries out jobs. */
export async function serveRamCopy(port: MessagePort, { plugins, backend, handle }: CopyThreadData): Promise<void> {
  const send = (message: CopyMessage): void => port.postMessage(message);
  let ram: Uint8Array;
  try {
    ram = (await new Kernel(plugins).get(Backend, backend)).adoptRam(handle).bytes;
  } catch (error) {
    send({ failure: { kind: "other", error: serializeError(error) } });
    return;
  }
  port.on("message", (job: CopyJob) => {
    const failure = copyChunks(ram, job);
    send(failure === undefined ? {} : { failure });
  });
  send({});
}
