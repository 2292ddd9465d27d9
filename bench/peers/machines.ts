import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cprCommand } from "../../tools/cpr-process.ts";
import { ensureDebianPackages } from "../../tools/debian-archive.ts";
import { root } from "../../tools/workspace.ts";
import { type TimedLine, timedLines } from "./timed-lines.ts";

/** A machine that can run an ELF image with a PVH and a Multiboot header, its COM1 seen line by line. */
export interface LoopMachine {
  readonly name: string;
  /** Installs what it needs. @throws {DebianArchiveError} if that cannot be had here. */
  prepare(): Promise<void>;
  /** Runs the image until it prints `end`. */
  run(image: string): Promise<TimedLine[]>;
}

const isEnd = (line: string): boolean => line.trim() === "end";

/** Installs QEMU 10 from the release's backports; the release's own knows no CPR. */
export const ensureQemu = (): Promise<void> =>
  ensureDebianPackages(["qemu-system-x86"], {
    backports: true,
    unless: () => {
      try {
        return !/version [0-8]\./.test(execFileSync("qemu-system-x86_64", ["--version"], { encoding: "utf8" }));
      } catch {
        return false;
      }
    },
  });

const cpr: LoopMachine = {
  name: "cpr (interp)",
  prepare: async () => undefined,
  run: (image) =>
    timedLines(
      process.execPath,
      [cprCommand, "run", "-accel", "interp", "-m", "64M", "-kernel", image, "-serial", "stdio", "-no-reboot"],
      isEnd,
    ),
};

const qemu: LoopMachine = {
  name: "QEMU (TCG)",
  prepare: ensureQemu,
  run: (image) =>
    timedLines(
      "qemu-system-x86_64",
      [
        ...["-accel", "tcg", "-M", "pc", "-m", "64", "-display", "none", "-serial", "stdio", "-monitor", "none"],
        ...["-no-reboot", "-kernel", image],
      ],
      isEnd,
    ),
};

const v86 = (jit: boolean): LoopMachine => ({
  name: jit ? "v86" : "v86 (no JIT)",
  prepare: () => ensureDebianPackages(["seabios"]),
  run: (image) =>
    timedLines(
      process.execPath,
      [fileURLToPath(new URL("v86-process.ts", import.meta.url)), image, jit ? "jit" : "interpreter"],
      isEnd,
    ),
});

/**
 * Bochs loads the image as the contents of RAM; an option ROM of ours, found by its BIOS, goes to protected mode and
 * jumps to it. Its console wants a terminal, so it gets one from script(1).
 */
const bochs: LoopMachine = {
  name: "Bochs",
  prepare: () => ensureDebianPackages(["bochs", "bochs-term", "bochsbios", "vgabios"]),
  run: async (image) => {
    const folder = join(root, ".cache", "bench", "bochs");
    mkdirSync(folder, { recursive: true });
    const symbols = execFileSync("nm", [image], { encoding: "utf8" });
    const entry = /^([0-9a-f]+) \w start$/m.exec(symbols)?.[1];
    const source = fileURLToPath(new URL("option-rom.S", import.meta.url));
    const path = (name: string): string => join(folder, name);
    execFileSync("gcc", ["-c", "-x", "assembler", `-Wa,--defsym,ENTRY=0x${entry}`, source, "-o", path("rom.o")]);
    execFileSync("ld", [
      ...["-m", "elf_x86_64", "-e", "0", "-Ttext=0", "--oformat", "binary", path("rom.o"), "-o", path("rom.bin")],
    ]);
    execFileSync("objcopy", ["-O", "binary", image, path("image.bin")]);
    const rom = Buffer.alloc(512);
    readFileSync(path("rom.bin")).copy(rom);
    rom[511] = -rom.reduce((sum, byte) => sum + byte, 0) & 0xff;
    writeFileSync(path("rom.bin"), rom);
    writeFileSync(
      path("bochsrc"),
      [
        "megs: 64",
        "romimage: file=/usr/share/bochs/BIOS-bochs-latest",
        "vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest",
        `optromimage1: file=${path("rom.bin")}, address=0xd0000`,
        `optramimage1: file=${path("image.bin")}, address=0x100000`,
        `com1: enabled=1, mode=file, dev=${path("console")}`,
        "display_library: term",
        `log: ${path("log")}`,
        "panic: action=fatal",
        "clock: sync=none",
        "",
      ].join("\n"),
    );
    writeFileSync(path("commands"), "c\n");
    writeFileSync(path("console"), "");
    const words = `TERM=vt100 script -qfc 'bochs -q -f ${path("bochsrc")} -rc ${path("commands")}' /dev/null </dev/null >/dev/null 2>&1`;
    // The console is a file, so that is what is read; Bochs writes each byte at once.
    return timedLines("bash", ["-c", `${words} & tail -f ${path("console")}`], isEnd);
  },
};

/** All machines that the loops are run on, ours first. */
export const loopMachines: readonly LoopMachine[] = [cpr, qemu, v86(true), v86(false), bochs];
