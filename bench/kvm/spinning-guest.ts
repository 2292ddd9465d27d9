import { closeSync, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { buildGuestProgram } from "@cpr/guest-programs";

/** The size of its RAM, as `-m` takes it. */
export const ramSize = "64M";

/** Where the guest program `spin` counts: 32 bits each, so many bytes apart. */
const countersAt = 0x9000;
const distance = 64;

/** The guest program `spin`, whose vCPUs never leave the guest by themselves, and its RAM in a file on tmpfs, where it can be seen to run. */
export class SpinningGuest implements Disposable {
  readonly kernel = buildGuestProgram("spin");
  readonly ram: string;
  readonly #folder = mkdtempSync("/dev/shm/cpr-bench-");
  readonly #processors: number;
  #descriptor: number | undefined;

  constructor(processors: number) {
    this.#processors = processors;
    this.ram = join(this.#folder, "ram");
  }

  /** The options that are the same for `cpr` and QEMU. */
  get options(): readonly string[] {
    return [
      ...["-smp", String(this.#processors), "-m", ramSize, "-kernel", this.kernel],
      ...["-object", `memory-backend-file,id=ram0,size=${ramSize},mem-path=${this.ram},share=on`],
    ];
  }

  /** How far each vCPU has counted. */
  counters(): number[] {
    this.#descriptor ??= openSync(this.ram, "r");
    const buffer = Buffer.alloc(this.#processors * distance);
    readSync(this.#descriptor, buffer, 0, buffer.length, countersAt);
    return Array.from({ length: this.#processors }, (_, index) => buffer.readUInt32LE(index * distance));
  }

  /** Waits until so many vCPUs have counted on since `before`; other work of this thread gets its turn meanwhile. */
  async moved(before: readonly number[], wanted: number): Promise<void> {
    while (this.counters().filter((count, index) => count !== before[index]).length < wanted) await setImmediate();
  }

  /** Waits until all vCPUs count. */
  async running(): Promise<void> {
    await this.moved(
      Array.from({ length: this.#processors }, () => 0),
      this.#processors,
    );
  }

  [Symbol.dispose](): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
