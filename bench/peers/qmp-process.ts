import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";

interface Reply {
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
  readonly event?: string;
}

/** A QEMU, or a `cpr`, with its QMP on standard input and output. */
export class QmpProcess {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #replies: Reply[] = [];
  readonly #ended: Promise<void>;
  #hasEnded = false;
  #stderr = "";
  #wake: () => void = () => undefined;

  constructor(words: readonly string[], program = "qemu-system-x86_64") {
    this.#child = spawn(program, [...words, "-qmp", "stdio"]);
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      const reply = JSON.parse(line) as Reply;
      if ("return" in reply || "error" in reply || "QMP" in reply) {
        this.#replies.push(reply);
        this.#wake();
      }
    });
    this.#child.stderr.on("data", (bytes: Buffer) => {
      this.#stderr += bytes.toString();
    });
    this.#ended = new Promise((resolve) => {
      this.#child.on("close", () => {
        this.#hasEnded = true;
        this.#wake();
        resolve();
      });
    });
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

  /**
   * Asks again and again until the answer is as wanted: at once, since a reply takes some ten microseconds, or, where much is
   * done meanwhile, after a pause in milliseconds.
   */
  async until(execute: string, wanted: (answer: Record<string, unknown>) => boolean, pause?: number): Promise<void> {
    while (!wanted((await this.command(execute)) as Record<string, unknown>)) {
      if (pause !== undefined) await delay(pause);
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
      if (this.#hasEnded) throw new Error(`${this.#child.spawnfile} has ended: ${this.#stderr}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
