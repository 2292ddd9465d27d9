import { execFile, spawnSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { optionsFor32Bits } from "../../../tools/compiler-32.ts";
import { qemuSourceFolder } from "../../../tools/qemu-source.ts";

const run = promisify(execFile);

/** A program of QEMU's tests/tcg, built for this machine, and what it did on it. */
export interface SuiteProgram {
  readonly name: string;
  readonly path: string;
  readonly output: Buffer;
  readonly status: number;
}

/**
 * The programs of tests/tcg/i386, with the options that QEMU's makefile gives them. Those that need more than the CPU model
 * has are left out, and test-i386-fprem, whose output has 66 MB.
 */
const programs: Readonly<Record<string, readonly string[]>> = {
  "test-i386": ["-fno-pie", "-no-pie"],
  "test-i386-f2xm1": [],
  "test-i386-fbstp": [],
  "test-i386-fisttp": [],
  "test-i386-fldcst": [],
  "test-i386-fp-exceptions": [],
  "test-i386-fpatan": [],
  "test-i386-fscale": [],
  "test-i386-fxam": [],
  "test-i386-fxtract": [],
  "test-i386-fyl2x": [],
  "test-i386-fyl2xp1": [],
  "test-i386-pcmpistri": ["-msse4.2"],
  "test-i386-pseudo-denormal": [],
  "test-i386-snan-convert": [],
  "test-i386-sse-exceptions": ["-msse4.1", "-mfpmath=sse"],
  "test-i386-ssse3": [],
};
/** Those whose sources need 64-bit mode. */
const only64: ReadonlySet<string> = new Set(["test-i386-ssse3"]);

/** What a shell ends with when the kernel does not execute a program. */
const cannotExecute = 126;

/**
 * Builds the suite into a folder, statically linked, and runs each program natively. Those of 32 bits are left out where the host's
 * kernel does not execute such programs.
 */
export async function buildSuite(folder: string): Promise<SuiteProgram[]> {
  const source = await qemuSourceFolder("tests/tcg/i386");
  const optionsFor32 = await optionsFor32Bits();
  // The vector test's cases are generated from a table of instructions.
  const header = join(folder, "test-mmx.h");
  const sets = ["MMX", "SSE", "SSE2", "SSE3", "SSSE3"];
  await run("python3", [join(source, "test-mmx.py"), join(source, "x86.csv"), header, ...sets]);
  const jobs = Object.entries(programs).flatMap(([name, options]) => [
    { name: `${name}-64`, sources: [`${name}.c`], options, narrow: false },
    ...(only64.has(name)
      ? []
      : [{ name: `${name}-32`, sources: [`${name}.c`], options: [...options, ...optionsFor32], narrow: true }]),
  ]);
  const withSegments = jobs.find(({ name }) => name === "test-i386-32");
  withSegments?.sources.push("test-i386-code16.S", "test-i386-vm86.S");
  jobs.push({
    name: "test-mmx-64",
    sources: ["test-mmx.c"],
    options: ["-masm=intel", "-O", `-I${folder}`],
    narrow: false,
  });
  // The guest's kernel has no 16-bit segments (CONFIG_X86_16BIT), which the host's may have.
  const main = await readFile(join(source, "test-i386.c"), "utf8");
  await writeFile(join(folder, "test-i386.c"), main.replaceAll("test_code16();", ""));
  const built: SuiteProgram[] = [];
  const lacking: string[] = [];
  for (const { name, sources, options, narrow } of jobs) {
    const path = join(folder, name);
    const files = sources.map((file) => join(file === "test-i386.c" ? folder : source, file));
    await run("gcc", [
      "-static",
      "-w",
      `-I${source}`,
      ...options,
      "-o",
      path,
      ...files,
      "-lm",
      "-Wl,--no-warn-rwx-segments",
    ]);
    // NOTE: a shell, because exec functions of C run as a script what the kernel does not take for a program.
    const { stdout, status, error } = spawnSync("bash", ["-c", 'exec "$0"', path], {
      maxBuffer: 1 << 26,
      timeout: 60_000,
    });
    if (error !== undefined) throw error;
    if (status === cannotExecute && narrow) {
      lacking.push(name);
      continue;
    }
    built.push({ name, path, output: stdout, status: status ?? -1 });
  }
  if (lacking.length > 0) {
    console.error(
      `NOTE: this host's kernel executes no 32-bit programs, so these are left out: ${lacking.join(", ")}.`,
    );
  }
  return built;
}
