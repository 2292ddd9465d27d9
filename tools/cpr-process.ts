import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { closeSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { bundlePackages } from "./bundle.ts";
import { root } from "./workspace.ts";

await bundlePackages();

/** How a process ended. */
export interface ProcessEnd {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
}

const prompt = "(cpr) ";

/** The path of the command `cpr` of this checkout. */
export const cprCommand = join(root, "packages", "cli", "bin", "cpr.js");

/** A `cpr run … -monitor stdio` that is told what to do line by line, as a person would, through a pipe. */
export class CprProcess {
  readonly ended: Promise<ProcessEnd>;
  readonly #child: ChildProcessWithoutNullStreams;
  #output = "";
  #wake: () => void = () => undefined;
  #end: ProcessEnd | undefined;

  /** @param under - a command that starts the process as its last words say, e.g. a tracer, and passes everything on. */
  constructor(options: readonly string[], environment: NodeJS.ProcessEnv = {}, under: readonly string[] = []) {
    const words = [...under, process.execPath, cprCommand, "run", ...options, "-monitor", "stdio"];
    this.#child = spawn(words[0] as string, words.slice(1), { env: { ...process.env, ...environment } });
    let stderr = "";
    this.#child.stderr.on("data", (bytes: Buffer) => {
      stderr += bytes.toString();
    });
    this.#child.stdout.on("data", (bytes: Buffer) => {
      this.#output += bytes.toString();
      this.#wake();
    });
    // NOTE: writing to a process that has just ended is not an error here; `ended` tells.
    this.#child.stdin.on("error", () => undefined);
    this.ended = new Promise((resolve) => {
      this.#child.on("close", (status, signal) => {
        this.#end = { status, signal, stderr };
        this.#wake();
        resolve(this.#end);
      });
    });
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** Chooses what keeps a VM over a restart of its process: the mode cpr-reboot, with shared RAM in place. */
  async chooseReboot(): Promise<void> {
    for (const line of ["migrate_set_parameter mode cpr-reboot", "migrate_set_capability x-ignore-shared on"]) {
      const answer = await this.command(line);
      if (answer !== "") throw new Error(`'${line}': ${answer}`);
    }
  }

  /** Waits for the monitor's first prompt. @throws if the process ends instead, with what it said. */
  async ready(): Promise<void> {
    await this.#untilPrompt();
    this.#output = "";
  }

  /** Gives a command and returns the monitor's answer, without the line feed at its end. */
  async command(line: string): Promise<string> {
    this.#output = "";
    this.#child.stdin.write(`${line}\n`);
    await this.#untilPrompt();
    return this.#output.slice(0, -prompt.length).trimEnd();
  }

  /** `quit`; fulfilled when the process is gone. */
  async quit(): Promise<ProcessEnd> {
    this.#child.stdin.write("quit\n");
    return this.ended;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async #untilPrompt(): Promise<void> {
    while (!this.#output.endsWith(prompt)) {
      if (this.#end !== undefined) {
        const { status, signal, stderr } = this.#end;
        throw new Error(`cpr ended (${signal ?? `status ${status}`}): ${stderr}${this.#output}`);
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

/** Reads a growing text file line by line, e.g. a guest's console; lines come without their end. */
export class FileLines {
  readonly #path: string;
  #position = 0;
  #rest = "";
  readonly #waiting: string[] = [];

  constructor(path: string) {
    this.#path = path;
  }

  /** The next line; waits for it. @throws when `signal` is aborted. */
  async next(signal: AbortSignal): Promise<string> {
    for (;;) {
      const line = this.#waiting.shift();
      if (line !== undefined) {
        return line;
      }
      if (!this.#read()) {
        await delay(20, undefined, { signal });
      }
    }
  }

  /** The first line from here on that `accept` returns something for. @throws after `seconds`. */
  async until<T>(accept: (line: string) => T | undefined, seconds: number): Promise<T> {
    const signal = AbortSignal.timeout(seconds * 1000);
    for (;;) {
      const result = accept(await this.next(signal));
      if (result !== undefined) {
        return result;
      }
    }
  }

  #read(): boolean {
    let descriptor: number;
    try {
      descriptor = openSync(this.#path, "r");
    } catch {
      return false;
    }
    const buffer = Buffer.alloc(65_536);
    const length = readSync(descriptor, buffer, 0, buffer.length, this.#position);
    closeSync(descriptor);
    this.#position += length;
    this.#rest += buffer.toString("latin1", 0, length);
    const lines = this.#rest.split("\n");
    this.#rest = lines.pop() ?? "";
    this.#waiting.push(...lines.map((line) => line.replace(/\r$/, "")));
    return length > 0;
  }
}
