/**
 * What a thread that copies RAM executes.
 *
 * @packageDocumentation
 */
import { enableCompileCache } from "node:module";
import { parentPort, workerData } from "node:worker_threads";
import type { CopyThreadData } from "./copy-job.ts";

if (parentPort === null) {
  throw new TypeError("this module is the entry of a worker thread");
}
const data = workerData as CopyThreadData;
if (data.compileCache !== undefined) {
  // NOTE: a thread does not inherit it, and it counts for modules that are loaded from now on.
  enableCompileCache(data.compileCache);
}
const { serveRamCopy } = await import("./serve-ram-copy.ts");
await serveRamCopy(parentPort, data);
