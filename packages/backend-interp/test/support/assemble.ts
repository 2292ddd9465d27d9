import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Width of the code to assemble. */
export type CodeWidth = 16 | 32 | 64;

/** Assembles a program in GNU assembler's Intel syntax for an address. Hexadecimal numbers are written 0x…. */
export function assemble(width: CodeWidth, origin: number, source: string): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), "cpr-assemble-"));
  try {
    const file = (name: string) => join(folder, name);
    writeFileSync(file("a.s"), `.intel_syntax noprefix\n.code${width}\n.globl _start\n_start:\n${source}\n`);
    const format = width === 64 ? ["--64", "elf_x86_64"] : ["--32", "elf_i386"];
    execFileSync("as", [format[0] as string, "-o", file("a.o"), file("a.s")], { stdio: "pipe" });
    const options = ["-m", format[1] as string, "-N", "--oformat", "binary", "-Ttext", `0x${origin.toString(16)}`];
    execFileSync("ld", [...options, "-o", file("a.bin"), file("a.o")], { stdio: "pipe" });
    return readFileSync(file("a.bin"));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
