/**
 * What the machine thread executes: a machine behind a message port.
 *
 * @packageDocumentation
 */
import { enableCompileCache } from "node:module";
import { parentPort, workerData } from "node:worker_threads";
import type { MachineThreadStart } from "../machine-thread.ts";

if (parentPort === null) {
  throw new TypeError("this module is the entry of a worker thread");
}
const { compileCache } = workerData as MachineThreadStart;
if (compileCache !== undefined) {
  // NOTE: a thread does not inherit it, and it counts for modules that are loaded from now on.
  enableCompileCache(compileCache);
}
const { serveMachine } = await import("./serve-machine.ts");
serveMachine(parentPort);
