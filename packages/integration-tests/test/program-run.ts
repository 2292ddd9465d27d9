import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import {
  buildGuestProgram,
  expectedObservations,
  type GuestProgramNeeds,
  guestProgramNeeds,
  type ObservingProgram,
} from "@cpr/guest-programs";
import { expect, onTestFinished } from "vitest";
import { CprProcess, FileLines } from "../../../tools/cpr-process.ts";
import { type ScratchMachine, scratchMachine } from "./scratch.ts";

/** The execution backends that guest programs are run on. */
export const backends = ["interp"] as const;

/** A guest program on a backend, in one process after the other. Processes end with the test. */
export class ProgramRun {
  readonly machine: ScratchMachine;
  readonly needs: GuestProgramNeeds;
  readonly #name: ObservingProgram;
  readonly #consoles: string[] = [];

  constructor(name: ObservingProgram) {
    this.#name = name;
    this.needs = guestProgramNeeds(name);
    this.machine = scratchMachine(buildGuestProgram(name));
  }

  /** Starts a process, whose console is a file of its own. */
  start(backend: string, more: readonly string[] = []): CprProcess {
    const console = `${this.machine.console}.${this.#consoles.length}`;
    this.#consoles.push(console);
    const options = ["-accel", backend, "-smp", String(this.needs.processors), "-no-reboot", ...more];
    const words = this.machine.options(options).map((word) => (word.startsWith("file:") ? `file:${console}` : word));
    const process = new CprProcess(words);
    onTestFinished(() => process.kill("SIGKILL"));
    return process;
  }

  /** Waits until the program says that it is ready. @throws if it does not within half a minute. */
  async ready(): Promise<void> {
    const console = this.#consoles.at(-1) as string;
    await new FileLines(console).until((line) => (line === "ready" ? true : undefined), 30);
  }

  /** Rings the program's doorbell, in its RAM. */
  ring(): void {
    const descriptor = openSync(this.machine.ram, "r+");
    writeSync(descriptor, Uint8Array.of(1), 0, 1, this.needs.doorbell as number);
    closeSync(descriptor);
  }

  /** Waits for the last process and compares what all of them printed with what a processor observes. */
  async expectObservations(process: CprProcess): Promise<void> {
    const { status, stderr } = await process.ended;
    expect(stderr).toBe("");
    const text = this.#consoles.map((console) => readFileSync(console, "latin1")).join("");
    expect(text.replaceAll("\r", "")).toBe(expectedObservations(this.#name));
    expect(status).toBe(0);
  }
}
