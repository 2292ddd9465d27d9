import { createInterface, type Interface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import type { MonitorConversation } from "@cpr/core";
import type { MonitorAnswer } from "./human-monitor.ts";
import type { LineHistory } from "./line-history.ts";
import { ProgressBar } from "./progress-bar.ts";
import { taken } from "./taken.ts";

/** Who carries out the lines of a session: a {@link HumanMonitor}, or that of another process. */
export interface LineMonitor {
  /** It never rejects: a failure is an answer. */
  execute(line: string, progress?: MonitorConversation["progress"]): Promise<MonitorAnswer>;
  /** Gives up what a person waits for. */
  interrupt(): void;
  /** Completions of a line, in the form that `node:readline` wants. */
  complete(line: string): [string[], string];
}

/** Where a session reads and writes. */
export interface SessionStreams {
  readonly input: Readable;
  readonly output: Writable;
  /** Both ends are a terminal: lines are edited, kept as history and completed. */
  readonly terminal: boolean;
  /** Where the lines that are typed at a terminal are kept for the next session; nowhere if undefined. */
  readonly history?: LineHistory;
}

/** How many bytes may be unread when the next line is carried out, where nobody may sit in front of it. */
const unreadLimit = 64 * 1024;

/**
 * One conversation with the human monitor. Lines are carried out one after the other in the order in which they
 * arrive, from a terminal and from a pipe alike; the prompt appears when the monitor is ready for the next one.
 */
export class MonitorSession {
  static readonly prompt = "(cpr) ";
  readonly #monitor: LineMonitor;
  readonly #output: Writable;
  readonly #interface: Interface;
  /** Shown on a terminal only. */
  readonly #progress: ProgressBar | undefined;
  readonly #terminal: boolean;
  readonly #waiting: string[] = [];
  #busy = false;
  #closed = false;
  /** Fulfilled when the input has ended and every line of it was carried out. */
  readonly done: Promise<void>;
  #finish: () => void = () => undefined;

  constructor(monitor: LineMonitor, streams: SessionStreams) {
    this.#monitor = monitor;
    this.#output = streams.output;
    this.#terminal = streams.terminal;
    this.#interface = createInterface({
      input: streams.input,
      output: streams.output,
      terminal: streams.terminal,
      prompt: MonitorSession.prompt,
      completer: (line: string) => monitor.complete(line),
      removeHistoryDuplicates: true,
      ...(streams.terminal && streams.history !== undefined ? { history: streams.history.read() } : {}),
    });
    if (streams.terminal) {
      this.#progress = new ProgressBar(streams.output);
      this.#interface.on("history", (lines) => streams.history?.write(lines));
      this.#interface.on("SIGINT", () => this.#interrupt());
    }
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.#interface.on("line", (line) => {
      this.#waiting.push(line);
      void this.#work();
    });
    this.#interface.on("close", () => {
      this.#closed = true;
      if (!this.#busy) this.#finish();
    });
    // A connection that breaks has no end.
    streams.input.on("close", () => this.close());
    this.#interface.prompt();
  }

  /** Prints something that nobody asked for, e.g. an event, and the prompt again. */
  notify(text: string): void {
    if (!this.#closed) {
      this.#output.write(`\r${text}\n`);
      this.#interface.prompt(true);
    }
  }

  /** Ends the conversation. */
  close(): void {
    this.#interface.close();
  }

  /** Ctrl-C: gives up what is waited for, or the line that is being typed. It does not end the VM, as `quit` does. */
  #interrupt(): void {
    if (this.#busy) {
      this.#monitor.interrupt();
    } else {
      this.#output.write("^C\n");
      this.#interface.write(null, { ctrl: true, name: "e" });
      this.#interface.write(null, { ctrl: true, name: "u" });
      this.#interface.prompt();
    }
  }

  async #work(): Promise<void> {
    if (this.#busy) {
      return;
    }
    this.#busy = true;
    // Lines from elsewhere than a terminal wait where they come from: they cannot pile up here.
    if (!this.#terminal && !this.#closed) this.#interface.pause();
    for (let line = this.#waiting.shift(); line !== undefined; line = this.#waiting.shift()) {
      const progress = this.#progress;
      const { text } = await this.#monitor.execute(
        line,
        progress === undefined ? undefined : (amount) => progress.show(amount),
      );
      if (text !== "") {
        this.#output.write(`${text}\n`);
      }
      if (!this.#terminal && this.#output.writableLength > unreadLimit) {
        await taken(this.#output);
      }
      if (!this.#closed) {
        // NOTE: this lets the input flow again.
        this.#interface.prompt();
      }
    }
    this.#busy = false;
    if (this.#closed) {
      this.#finish();
    }
  }
}
