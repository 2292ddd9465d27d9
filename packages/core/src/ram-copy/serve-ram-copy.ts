import type { MessagePort } from "node:worker_threads";
import { Backend } from "../backend.ts";
import { serializeError } from "../errors.ts";
import { Kernel } from "../kernel.ts";
import type { PageFunctions } from "../memory-provider.ts";
import { copyChunks } from "./chunk-copier.ts";
import type { CopyJob, CopyMessage, CopyThreadData } from "./copy-job.ts";
import { loadPageFunctions, plainPageFunctions } from "./page-functions.ts";

/** Finds the RAM of the VM, tells that it is there, and then carries out jobs. */
export async function serveRamCopy(port: MessagePort, data: CopyThreadData): Promise<void> {
  const send = (message: CopyMessage): void => port.postMessage(message);
  let ram: Uint8Array;
  let functions: Pick<PageFunctions, "checksumPages">;
  try {
    ram = (await new Kernel(data.plugins).get(Backend, data.backend)).adoptRam(data.handle).bytes;
    functions = (await loadPageFunctions(data.pageFunctions)) ?? plainPageFunctions;
  } catch (error) {
    send({ failure: { kind: "other", error: serializeError(error) } });
    return;
  }
  port.on("message", (job: CopyJob) => {
    const failure = copyChunks(ram, functions, job);
    send(failure === undefined ? {} : { failure });
  });
  send({});
}
