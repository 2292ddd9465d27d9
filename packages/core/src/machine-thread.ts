/**
 * The thread that a machine will live on, begun before anything is known of the machine.
 *
 * This is an entry of its own: the rest of the package takes longer to load than a thread takes to begin.
 *
 * @packageDocumentation
 */
import { getCompileCacheDir } from "node:module";
import { Worker } from "node:worker_threads";

/** What the thread is begun with. */
export interface MachineThreadStart {
  /** Where V8 keeps compiled code, as `module.enableCompileCache` wants it; undefined if it does not. */
  readonly compileCache: string | undefined;
}

/** The entry of the thread. NOTE: when this module runs from its source (in a test), the entry is the built one. */
const entry = new URL(import.meta.url.endsWith(".ts") ? "../dist/worker.js" : "./worker.js", import.meta.url);

/**
 * Begins a thread, which loads what every machine needs and then waits to be told which one. It does not keep the
 * process alive as long as it waits.
 */
export function beginMachineThread(): Worker {
  const workerData: MachineThreadStart = { compileCache: getCompileCacheDir() };
  // NOTE: Node would warn of descriptors that native code has opened and `closeSync` closes; nothing is closed by itself then.
  const worker = new Worker(entry, { workerData, name: "machine", trackUnmanagedFds: false });
  worker.unref();
  return worker;
}
