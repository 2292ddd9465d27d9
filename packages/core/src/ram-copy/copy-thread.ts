import { getCompileCacheDir } from "node:module";
import { Worker } from "node:worker_threads";
import { migrationErrors } from "../errors/migration-errors.ts";
import type { CopyFailure, CopyJob, CopyMessage, CopyThreadData } from "./copy-job.ts";

/** The entry of the thread. NOTE: when this module runs from its source (in a test), the entry is the built one. */
const entry = new URL(import.meta.url.endsWith(".ts") ? "../../dist/ram-copy.js" : "./ram-copy.js", import.meta.url);

/** One thread that copies RAM, as the main thread sees it. It does one thing at a time. */
export class CopyThread {
  readonly #worker: Worker;
  #waiting: PromiseWithResolvers<CopyFailure | undefined> | undefined;
  #ended: Error | undefined;

  constructor(data: Omit<CopyThreadData, "compileCache">) {
    const workerData: CopyThreadData = { ...data, compileCache: getCompileCacheDir() };
    this.#worker = new Worker(entry, { workerData, name: "ram-copy" });
    this.#worker.on("message", ({ failure }: CopyMessage) => {
      // It does not keep the process alive as long as it waits.
      this.#worker.unref();
      this.#waiting?.resolve(failure);
    });
    this.#worker.on("error", (error: Error) => this.#end(error));
    this.#worker.on("exit", () => this.#end(new Error("it ended by itself")));
  }

  /** Fulfilled when the thread sees the RAM, or tells why it does not. */
  ready(): Promise<CopyFailure | undefined> {
    return this.#answer();
  }

  perform(job: CopyJob): Promise<CopyFailure | undefined> {
    const answer = this.#answer();
    this.#worker.ref();
    this.#worker.postMessage(job);
    return answer;
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #answer(): Promise<CopyFailure | undefined> {
    this.#waiting = Promise.withResolvers();
    if (this.#ended !== undefined) {
      this.#waiting.reject(this.#ended);
    }
    return this.#waiting.promise;
  }

  #end(cause: Error): void {
    this.#ended ??= migrationErrors.ERR_CPR_RAM_COPY_THREAD({ reason: cause.message }, { cause });
    this.#waiting?.reject(this.#ended);
  }
}
