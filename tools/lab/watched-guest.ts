import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { CprProcess, FileLines } from "../cpr-process.ts";

/** A complaint of a guest's kernel about the machine it is on. */
const complaint = /BUG:|WARNING: CPU|Call Trace|Oops|unchecked MSR|invalid opcode|general protection|lockup|rcu.*stall/;

/** How long a step of a guest may take that is emulated by an emulated processor, in seconds. */
const patience = 240;

/**
 * A guest in a `cpr`, driven through its monitor and watched through its console. A process that ends before it should, another
 * answer than the expected one, and a guest whose kernel complains are errors. When it is disposed of, its process is gone.
 */
export class WatchedGuest implements Disposable {
  readonly #process: CprProcess;
  readonly #console: string;
  readonly #lines: FileLines;

  /** Starts `cpr run` with these options; the console is in a file of that path, which must not be there yet. */
  constructor(options: readonly string[], console: string) {
    this.#console = console;
    this.#process = new CprProcess([...options, "-serial", `file:${console}`]);
    this.#lines = new FileLines(console);
  }

  /** Fulfilled when the monitor takes commands. */
  ready(): Promise<void> {
    return this.#process.ready();
  }

  /** Gives the monitor a command. @returns its answer */
  ask(line: string): Promise<string> {
    return this.#process.command(line);
  }

  /** Gives the monitor a command, to which it must answer so. */
  async command(line: string, answer = ""): Promise<void> {
    assert.equal(await this.ask(line), answer, `the answer to '${line}'`);
  }

  /** Waits until `info status` answers so: `migrate -d` does not wait for the end of what it begins. */
  async untilStatus(status: string): Promise<void> {
    const begun = performance.now();
    for (;;) {
      const answer = await this.ask("info status");
      if (answer === `VM status: ${status}`) return;
      if (performance.now() - begun > patience * 1000) assert.fail(`The status is not '${status}': ${answer}`);
    }
  }

  /** Chooses what keeps a VM over a restart of its process: the mode cpr-reboot, with shared RAM in place. */
  chooseReboot(): Promise<void> {
    return this.#process.chooseReboot();
  }

  /** The first line of the console from here on that `accept` returns something for. */
  async until<T>(accept: (line: string) => T | undefined): Promise<T> {
    const accepted = this.#lines.until(accept, patience).catch((cause: unknown) => {
      throw new Error(`The guest does not get on. ${this.#end()}`, { cause });
    });
    const ended = this.#process.ended.then(({ status, signal, stderr }) => {
      throw new Error(`cpr ended (${signal ?? `status ${status}`}): ${stderr}. ${this.#end()}`);
    });
    const result = await Promise.race([accepted, ended]);
    assert.doesNotMatch(this.said(), complaint, "what the guest's kernel says");
    return result;
  }

  /** What the guest has said on its console. */
  said(): string {
    return readFileSync(this.#console, "latin1");
  }

  /** Ends the process, but not what the guest was, if its RAM is in a file. */
  async quit(): Promise<void> {
    const { status, stderr } = await this.#process.quit();
    assert.equal(status, 0, `the exit status of cpr: ${stderr}`);
  }

  [Symbol.dispose](): void {
    this.#process.kill("SIGKILL");
  }

  #end(): string {
    return `The end of its console:\n${this.said().trimEnd().split("\n").slice(-20).join("\n")}`;
  }
}
