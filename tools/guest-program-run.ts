import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import {
  buildGuestProgram,
  expectedObservations,
  type GuestProgramNeeds,
  guestProgramNeeds,
  type ObservingProgram,
} from "@cpr/guest-programs";
import { mapOver, reserveMemory } from "@cpr/native-mman";
import { CprProcess, FileLines } from "./cpr-process.ts";

/** Rings the doorbell of a guest program: the byte at `address` in its RAM, which is in this file or device. */
export function ringDoorbell(ram: string, address: number): void {
  // Through a mapping, since a device has nothing else. It is of a size that every one takes.
  const memory = reserveMemory(2 ** 21);
  const descriptor = openSync(ram, "r+");
  mapOver(memory, { descriptor, visibility: "shared" });
  closeSync(descriptor);
  memory[address] = 1;
}

/**
 * Compares what a guest program printed with what a processor observes.
 *
 * @param deviations - names of records that must be there, with whatever value.
 */
export function compareObservations(
  printed: string,
  name: ObservingProgram,
  processors: number,
  deviations: readonly string[] = [],
): void {
  const comparable = (text: string): string =>
    text
      .replaceAll("\r", "")
      .replace(/^([^=\n]+)=.*$/gm, (line, record: string) => (deviations.includes(record) ? record : line));
  assert.equal(comparable(printed), comparable(expectedObservations(name, processors)));
}

/**
 * A guest program on `cpr`, in one process after the other. What is on disk of it is in a folder on tmpfs; when it is disposed
 * of, its processes have ended and the folder is gone.
 */
export class GuestProgramRun implements Disposable {
  readonly needs: GuestProgramNeeds;
  /** The URI of its checkpoint. */
  readonly uri: string;
  readonly #name: ObservingProgram;
  readonly #ram: string;
  readonly #folder = mkdtempSync("/dev/shm/cpr-program-");
  readonly #processes: CprProcess[] = [];

  /**
   * @param needs - what differs from what the program wants of a machine.
   * @param ram - the file or device that is its RAM; a file in its folder by default.
   */
  constructor(name: ObservingProgram, needs: Partial<GuestProgramNeeds> = {}, ram?: string) {
    this.#name = name;
    this.needs = { ...guestProgramNeeds(name), ...needs };
    this.#ram = ram ?? join(this.#folder, "ram0");
    this.uri = `file:${join(this.#folder, "vm.state")}`;
  }

  /** The console of the latest process, or of another one: each has a file of its own. */
  #console(process = this.#processes.length - 1): string {
    return join(this.#folder, `console-${process}.log`);
  }

  /** Starts a process. */
  start(...more: readonly string[]): CprProcess {
    const { memory: size, processors } = this.needs;
    const process = new CprProcess([
      ...["-object", `memory-backend-file,id=ram0,size=${size},mem-path=${this.#ram},share=on`, "-m", size],
      ...["-kernel", buildGuestProgram(this.#name), "-smp", String(processors), "-no-reboot"],
      ...["-serial", `file:${this.#console(this.#processes.length)}`, ...more],
    ]);
    this.#processes.push(process);
    return process;
  }

  /** Waits until the program says that it is ready. @throws if it does not within `seconds`. */
  async ready(seconds = 30): Promise<void> {
    await new FileLines(this.#console()).until((line) => (line === "ready" ? true : undefined), seconds);
  }

  /** Rings the program's doorbell, in its RAM. */
  ring(): void {
    ringDoorbell(this.#ram, this.needs.doorbell as number);
  }

  /** Saves it, with its RAM in place, and ends its process. */
  async save(process: CprProcess): Promise<void> {
    await process.chooseReboot();
    assert.equal(await process.command(`migrate ${this.uri}`), "");
    await process.quit();
  }

  /** Carries it on in a process that was started with `-incoming defer`. */
  async load(process: CprProcess): Promise<void> {
    await process.ready();
    await process.chooseReboot();
    assert.equal(await process.command(`migrate_incoming ${this.uri}`), "");
  }

  /**
   * Waits for the end of the last process and compares what all of them printed with what a processor observes.
   *
   * @param deviations - names of records that must be there, with whatever value.
   */
  async expectObservations(process: CprProcess, deviations: readonly string[] = []): Promise<void> {
    const { status, stderr } = await process.ended;
    const texts = this.#processes.map((_, index) => readFileSync(this.#console(index), "latin1"));
    assert.equal(stderr, "");
    compareObservations(texts.join(""), this.#name, this.needs.processors, deviations);
    assert.equal(status, 0);
  }

  [Symbol.dispose](): void {
    for (const process of this.#processes) process.kill("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
