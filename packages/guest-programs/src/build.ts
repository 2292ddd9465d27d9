import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("..", import.meta.url));
const sources = join(folder, "programs");

/** The guest programs that print what they observe and end. */
export const observingPrograms = [
  "real-mode",
  "exceptions32",
  "paging32",
  "segments32",
  "virtual-8086",
  "long-mode",
  "self-modifying",
  "timers",
  "string-io",
  "string-io64",
  "mmio",
  "interrupts",
  "apic-timer",
  "pc-clocks",
  "x87",
  "sse",
  "debug",
  "state",
  "state-fpu",
  "smp-start",
  "high-memory",
] as const;

/** Name of a guest program that observes. */
export type ObservingProgram = (typeof observingPrograms)[number];

/** Name of a guest program; each is `programs/NAME.S`. The others count for ever, are for measuring, or get lost. */
export type GuestProgram = ObservingProgram | "counter" | "exits" | "loops" | "lost" | "pages" | "spin";

/**
 * Assembles a guest program, unless that was done since its sources last changed, and returns the path of the ELF file: it
 * starts like a Linux kernel with a PVH entry.
 *
 * @throws if there is no `gcc` or `ld`, with what they said.
 */
export function buildGuestProgram(name: GuestProgram): string {
  const target = join(folder, "dist", "programs", `${name}.elf`);
  const included = readdirSync(sources).filter((file) => file.endsWith(".inc"));
  const inputs = [`${name}.S`, ...included, "link.ld"].map((file) => join(sources, file));
  const newest = Math.max(...inputs.map((file) => statSync(file).mtimeMs));
  if (existsSync(target) && statSync(target).mtimeMs >= newest) {
    return target;
  }
  mkdirSync(join(folder, "dist", "programs"), { recursive: true });
  const scratch = join(tmpdir(), `cpr-guest-program-${process.pid}-${name}`);
  const object = `${scratch}.o`;
  execFileSync("gcc", ["-c", "-x", "assembler", `-Wa,-I${sources}`, join(sources, `${name}.S`), "-o", object], {
    stdio: "pipe",
  });
  const linked = join(folder, "dist", "programs", `.${name}.${process.pid}`);
  const script = join(sources, "link.ld");
  execFileSync("ld", ["--no-warn-rwx-segments", "-m", "elf_x86_64", "-n", "-T", script, object, "-o", linked], {
    stdio: "pipe",
  });
  renameSync(linked, target);
  return target;
}

/** What a guest program wants of the machine that it runs on, and of whoever runs it. */
export interface GuestProgramNeeds {
  /** Number of vCPUs. */
  readonly processors: number;
  /** RAM, as `-m` takes it. */
  readonly memory: string;
  /**
   * Guest-physical address of a byte. The program prints the line `ready` and waits until somebody outside has made the byte
   * something else than zero.
   */
  readonly doorbell?: number;
}

const doorbell = 0x7000;
const needs: Partial<Record<GuestProgram, Partial<GuestProgramNeeds>>> = {
  state: { doorbell },
  "state-fpu": { doorbell },
  "smp-start": { processors: 4 },
  "high-memory": { memory: "3074M" },
};

/** The guest-physical addresses whose pages the program `pages` changes, from `start` to before `end`. */
export const changingPages = { start: 0x100_0000, end: 0x200_0000 } as const;

/** See {@link GuestProgramNeeds}. */
export function guestProgramNeeds(name: GuestProgram): GuestProgramNeeds {
  return { processors: 1, memory: "64M", ...needs[name] };
}

/** Other numbers of vCPUs with which `smp-start` is tried, and for which there are records of what it prints. */
export const otherProcessorCounts = [2, 8, 16] as const;

/**
 * What a guest program prints on COM1 on a real processor, up to and with `end`.
 *
 * @param processors - one of {@link otherProcessorCounts} for `smp-start`; what the program needs unless given.
 */
export function expectedObservations(name: ObservingProgram, processors = guestProgramNeeds(name).processors): string {
  const suffix = processors === guestProgramNeeds(name).processors ? "" : `-${processors}`;
  return readFileSync(join(folder, "expected", `${name}${suffix}.txt`), "utf8");
}

/** Programs for a Linux guest, in C; each is `linux/NAME.c`. They run on the host as well. */
export type LinuxProgram = "self-check";

/**
 * Compiles a program for a Linux guest, statically linked, unless that was done since its source last changed, and returns its
 * path.
 *
 * @throws if there is no `gcc`, with what it said.
 */
export function buildLinuxProgram(name: LinuxProgram): string {
  const source = join(folder, "linux", `${name}.c`);
  const target = join(folder, "dist", "linux", name);
  if (existsSync(target) && statSync(target).mtimeMs >= statSync(source).mtimeMs) {
    return target;
  }
  mkdirSync(join(folder, "dist", "linux"), { recursive: true });
  const scratch = `${target}.${process.pid}`;
  execFileSync("gcc", ["-O2", "-static", source, "-o", scratch, "-lm"], { stdio: "pipe" });
  renameSync(scratch, target);
  return target;
}
