import type { Duplex } from "node:stream";
import { pushAll, type TransportSink } from "@cpr/core";
import { Command } from "./command.ts";

/** Writes a stream to the standard input of a command. */
export class ExecSink implements TransportSink {
  readonly #command: Command;
  readonly #input: Duplex;
  /** Fulfilled when the command has let go of its input: with `undefined`, or with what went wrong. */
  readonly #released: Promise<Error | undefined>;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => void this.abort();
  #state: "open" | "committed" | "aborted" = "open";

  constructor(uri: string, text: string, signal: AbortSignal | undefined) {
    this.#signal = signal;
    const { command, input } = Command.consumer(uri, text);
    this.#command = command;
    this.#input = input;
    this.#released = new Promise((resolve) => {
      let failure: Error | undefined;
      input.on("error", (error) => {
        failure = error;
      });
      input.on("close", () => resolve(failure));
      input.resume();
    });
    signal?.addEventListener("abort", this.#onAbort);
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#checkOpen();
    try {
      await pushAll(this.#input, bytes);
    } catch (error) {
      this.#signal?.throwIfAborted();
      this.#input.destroy();
      throw (await this.#command.failure()) ?? this.#command.endedEarly(error);
    }
    this.#signal?.throwIfAborted();
  }

  async commit(): Promise<void> {
    this.#checkOpen();
    this.#input.end();
    const problem = await this.#released;
    const failure = await this.#command.failure();
    this.#signal?.throwIfAborted();
    this.#signal?.removeEventListener("abort", this.#onAbort);
    if (failure !== undefined) {
      throw failure;
    }
    if (problem !== undefined) {
      throw this.#command.endedEarly(problem);
    }
    this.#state = "committed";
  }

  async abort(): Promise<void> {
    this.#signal?.removeEventListener("abort", this.#onAbort);
    if (this.#state === "open") {
      this.#state = "aborted";
      // The command first: one that sees its input end believes that the stream is complete.
      await this.#command.end();
      this.#input.destroy();
    }
  }

  #checkOpen(): void {
    this.#signal?.throwIfAborted();
    if (this.#state !== "open") {
      throw new TypeError(`the sink is ${this.#state}`);
    }
  }
}
