import type { Readable } from "node:stream";
import { PullReader, type TransportSource } from "@cpr/core";
import { Command } from "./command.ts";

/** Reads a stream from the standard output of a command. */
export class ExecSource implements TransportSource {
  readonly #command: Command;
  readonly #output: Readable;
  readonly #reader: PullReader;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => {
    this.#output.destroy();
    void this.#command.end();
  };
  #open = true;

  constructor(uri: string, text: string, signal: AbortSignal | undefined) {
    this.#signal = signal;
    const { command, output } = Command.producer(uri, text);
    this.#command = command;
    this.#output = output;
    this.#reader = new PullReader(output);
    signal?.addEventListener("abort", this.#onAbort);
  }

  async read(buffer: Uint8Array): Promise<number> {
    this.#signal?.throwIfAborted();
    const count = await this.#reader.read(buffer);
    this.#signal?.throwIfAborted();
    return count;
  }

  async close(): Promise<void> {
    if (!this.#open) {
      return;
    }
    this.#open = false;
    this.#signal?.removeEventListener("abort", this.#onAbort);
    if (!this.#reader.ended) {
      // Nobody wants the rest; how the command takes that says nothing.
      this.#output.destroy();
      await this.#command.end();
      return;
    }
    const failure = await this.#command.failure();
    if (failure !== undefined) {
      throw failure;
    }
  }
}
