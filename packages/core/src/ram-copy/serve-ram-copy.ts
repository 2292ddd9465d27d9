import type { MessagePort } from "node:worker_threads";
import { serializeError } from "../errors.ts";
import type { PageFunctions } from "../memory-provider.ts";
import { copyChunks } from "./chunk-copier.ts";
import type { AdoptableRam, CopyJob, CopyMessage, CopyThreadData } from "./copy-job.ts";
import { loadPageFunctions, plainPageFunctions } from "./page-functions.ts";

/** Finds the RAM of the VM, tells that it is there, and then carries out jobs. */
export async function serveRamCopy(port: MessagePort, data: CopyThreadData): Promise<void> {
  const send = (message: CopyMessage): void => port.postMessage(message);
  let ram: Uint8Array;
  let functions: Pick<PageFunctions, "checksumPages">;
  try {
    ram = data.ram instanceof Uint8Array ? data.ram : await adoptRam(data.ram);
    functions = (await loadPageFunctions(data.pageFunctions)) ?? plainPageFunctions;
  } catch (error) {
    send({ failure: { kind: "other", chunk: -1, error: serializeError(error) } });
    return;
  }
  port.on("message", (job: CopyJob) => {
    const failure = copyChunks(ram, functions, job);
    send(failure === undefined ? {} : { failure });
  });
  send({});
}

async function adoptRam({ plugins, backend, handle }: AdoptableRam): Promise<Uint8Array> {
  const [{ Kernel }, { Backend }] = await Promise.all([import("../kernel.ts"), import("../backend.ts")]);
  const maker = await new Kernel(plugins).get(Backend, backend);
  return maker.adoptRam(handle).bytes;
}
