import { spawnSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { buildGuestProgram } from "@cpr/guest-programs";
import { describe, expect, it, onTestFinished } from "vitest";
import { CprProcess, FileLines } from "../../../tools/cpr-process.ts";
import { DebianArchiveError } from "../../../tools/debian-archive.ts";
import { programHosts } from "./program-run.ts";
import { type ScratchMachine, scratchFolder, scratchMachine } from "./scratch.ts";
import { findStrace } from "./strace.ts";

/** Waits until the guest changes its RAM, round after round. */
async function untilBusy(machine: ScratchMachine): Promise<void> {
  await new FileLines(machine.console).until((line) => (line === "B" ? true : undefined), 30);
}

const gibibyte = 2 ** 30;

/** Bytes that a process has mapped for data of its own (proc(5), VmData): RAM in a shared file is not among them. */
function dataSize(pid: number): number {
  const [, size] = /^VmData:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1")) as RegExpExecArray;
  return Number(size) * 1024;
}

describe.each(programHosts)("a cpr-reboot save on $name", ({ name, options }) => {
  it("starts no dirty tracking, nor does anything before or after it", { timeout: 120_000 }, async ({ skip }) => {
    const strace = await findStrace().catch((error: unknown) => {
      if (error instanceof DebianArchiveError) return skip(error.message);
      throw error;
    });
    const machine = scratchMachine(buildGuestProgram("pages"));
    const trace = join(scratchFolder(), "trace");
    const tracing = [strace.path, "-f", "-qq", "-e", "trace=ioctl,openat,userfaultfd", "-o", trace];
    const process = new CprProcess(machine.options(options), strace.environment, tracing);
    onTestFinished(() => process.kill("SIGKILL"));
    await process.ready();
    await untilBusy(machine);
    await process.chooseReboot();
    for (let time = 0; time < 2; time++) {
      expect(await process.command(`migrate file:${machine.state}`)).toBe("");
      expect(await process.command("info status")).toBe("VM status: paused (postmigrate)");
      await process.command("cont");
    }
    expect((await process.quit()).status).toBe(0);
    const calls = readFileSync(trace, "latin1");
    // What is looked for would be seen.
    expect(calls).toContain(`"${machine.ram}", O_RDWR`);
    if (name === "kvm") {
      for (const call of ["KVM_SET_USER_MEMORY_REGION, {slot=0, flags=0,", "KVM_RUN", "KVM_GET_REGS"]) {
        expect(calls).toContain(call);
      }
    }
    // KVM's log and rings, soft-dirty bits, faults on protected pages, the scan for written pages (proc(5), kvm(4)).
    expect(calls.match(/.*(DIRTY|clear_refs|userfaultfd|UFFD|PAGEMAP_SCAN|'f', 0x10).*/g)).toBe(null);
  });
});

// Only where a guest can have so much RAM that a bitmap of its pages is larger than what the heap of JavaScript grows by.
describe.each(programHosts.filter(({ name }) => name === "kvm"))("a cpr-reboot save on $name", ({ options }) => {
  it("allocates nothing that grows with RAM, such as a bitmap", { timeout: 120_000 }, async ({ skip }) => {
    // Only a file system that says that it has the room can have a file of that size, whose pages are never touched.
    const room = scratchFolder();
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=200g", "tmpfs", room], { encoding: "utf8" });
    if (mounted.status !== 0) return skip(`a file system for large RAM cannot be made here: ${mounted.stderr}`);
    onTestFinished(() => void spawnSync("umount", [room]));
    const growth = async (size: number): Promise<number> => {
      const folder = scratchFolder();
      const machine = {
        ...scratchMachine(buildGuestProgram("pages"), { size: `${size / gibibyte}G`, folder: room }),
        console: join(folder, "console.log"),
      };
      const process = new CprProcess(
        machine.options(options).map((word) => word.replace(`file:${room}/console.log`, `file:${machine.console}`)),
      );
      onTestFinished(() => process.kill("SIGKILL"));
      await process.ready();
      await untilBusy(machine);
      await process.chooseReboot();
      await process.command("stop");
      const before = dataSize(process.pid);
      expect(await process.command(`migrate file:${machine.state}`)).toBe("");
      const grown = dataSize(process.pid) - before;
      expect(await process.command("info migrate")).toContain(`ram left in place: ${size / 1024} kbytes`);
      await process.quit();
      rmSync(machine.ram);
      return grown;
    };
    const large = 128 * gibibyte;
    const bitmap = large / 4096 / 8;
    const usual = Math.max(await growth(gibibyte), await growth(gibibyte), await growth(gibibyte));
    // The heap of JavaScript grows when it likes, so that a single figure may be larger for other reasons; a bitmap would always be.
    const figures: number[] = [];
    do {
      figures.push(await growth(large));
    } while (Math.min(...figures) > usual + bitmap / 2 && figures.length < 8);
    expect(Math.min(...figures), `of ${figures}, usually ${usual}`).toBeLessThan(usual + bitmap / 2);
  });
});
