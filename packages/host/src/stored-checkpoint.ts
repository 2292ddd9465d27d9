import { statSync } from "node:fs";
import { removeFile, renameFile } from "@cpr/core";

/**
 * The checkpoint of a registered VM. It has its name only while no process can have gone on from it: one that is being
 * written or loaded has another name, so that after a crash, at whatever moment, a guest that may have run on is not loaded
 * without being asked for.
 *
 * NOTE: all of it is synchronous, and durable when it returns.
 */
export class StoredCheckpoint {
  /** Where it is when it can be loaded. */
  readonly path: string;
  /** Where it is while a process has it. */
  readonly pathInUse: string;

  constructor(path: string) {
    this.path = path;
    this.pathInUse = `${path}.in-use`;
  }

  /** `in-use`: a process has it, or had it when it ended. */
  get state(): "none" | "ready" | "in-use" {
    return this.#stat(this.pathInUse) !== undefined ? "in-use" : this.#stat(this.path) !== undefined ? "ready" : "none";
  }

  /** Where it is, how many bytes it has, and when it was made (ISO 8601); undefined if there is none. */
  get facts(): { readonly path: string; readonly bytes: number; readonly made: string } | undefined {
    const path = this.state === "in-use" ? this.pathInUse : this.path;
    const found = this.#stat(path);
    return found === undefined ? undefined : { path, bytes: found.size, made: found.mtime.toISOString() };
  }

  /** A process is going to have it. */
  take(): void {
    renameFile(this.path, this.pathInUse);
  }

  /** No process has it any more, and none has gone on from it. */
  release(): void {
    renameFile(this.pathInUse, this.path);
  }

  /** A guest has gone on from it. */
  spend(): void {
    removeFile(this.pathInUse);
  }

  /** Removes it, whoever had it. */
  discard(): void {
    removeFile(this.pathInUse);
    removeFile(this.path);
  }

  #stat(path: string) {
    return statSync(path, { throwIfNoEntry: false });
  }
}
