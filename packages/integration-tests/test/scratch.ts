import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** A fresh folder on tmpfs, removed when the test ends. */
export function scratchFolder(): string {
  const folder = mkdtempSync("/dev/shm/cpr-test-");
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Paths and options of a VM whose RAM is a file in a folder. */
export interface ScratchMachine {
  readonly ram: string;
  readonly console: string;
  readonly state: string;
  /** Options of `cpr run` for the guest with RAM in that file. */
  options(more?: readonly string[]): string[];
}

/** Describes a VM in a fresh folder: 64 MiB of RAM in a file, the console in another. */
export function scratchMachine(kernel: string, { size = "64M", folder = scratchFolder() } = {}): ScratchMachine {
  const ram = join(folder, "ram0");
  const console = join(folder, "console.log");
  return {
    ram,
    console,
    state: join(folder, "vm.state"),
    options: (more = []) => [
      ...["-object", `memory-backend-file,id=ram0,size=${size},mem-path=${ram},share=on`, "-m", size],
      ...["-kernel", kernel, "-serial", `file:${console}`, ...more],
    ],
  };
}
