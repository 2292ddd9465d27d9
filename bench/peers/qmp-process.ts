import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createInterface } from "node:readline";

interface Reply {
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
  readonly event?: string;
}

/** A QEMU with its QMP on standard input and output. */
export class QmpProcess {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #replies: Reply[] = [];
  readonly #ended: Promise<void>;
  #wake: () => void = () => undefined;

  constructor(words: readonly string[]) {
    this.#child = spawn("qemu-system-x86_64", [...words, "-qmp", "stdio"]);
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      const reply = JSON.parse(line) as Reply;
      if ("return" in reply || "error" in reply || "QMP" in reply) {
        this.#replies.push(reply);
        this.#wake();
      }
    });
    this.#ended = new Promise((resolve) => this.#child.on("close", () => resolve()));
  }

  /** Waits for the greeting and begins the conversation. */
  async ready(): Promise<void> {
    await this.#next();
    await this.command("qmp_capabilities");
  }

  async command(execute: string, given: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    this.#child.stdin.write(`${JSON.stringify({ execute, arguments: given })}\n`);
    const reply = await this.#next();
    if (reply.error !== undefined) throw new Error(`QEMU: ${execute}: ${reply.error.desc}`);
    return reply.return;
  }

  /** Asks again and again until the answer is as wanted. */
  async until(execute: string, wanted: (answer: Record<string, unknown>) => boolean): Promise<void> {
    while (!wanted((await this.command(execute)) as Record<string, unknown>)) {
      // At once: a reply takes some ten microseconds.
    }
  }

  async quit(): Promise<void> {
    this.#child.stdin.write(`${JSON.stringify({ execute: "quit" })}\n`);
    await this.#ended;
  }

  async #next(): Promise<Reply> {
    for (;;) {
      const reply = this.#replies.shift();
      if (reply !== undefined) return reply;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
