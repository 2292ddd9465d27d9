import { execFile, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { buildGuestProgram, observingPrograms } from "@cpr/guest-programs";
import { ensureQemu } from "../../bench/peers/machines.ts";
import { FileLines } from "../cpr-process.ts";
import { debianImage } from "../debian-image.ts";
import { debianKernel } from "../debian-kernel.ts";
import { guestAssets } from "../guest-assets.ts";
import { root } from "../workspace.ts";
import { labInitramfs } from "./lab-initramfs.ts";
import { type LabMachine, labMachineOptions } from "./lab-machine.ts";
import type { LabHost } from "./scenario.ts";
import { makeExt4, systemImage } from "./system-image.ts";
import { systemdImage } from "./systemd-image.ts";

const run = promisify(execFile);

/** What a lab host is to do, and for how long at most. */
export interface LabTask {
  /** Names its logs. */
  readonly name: string;
  /** What the lab host has that not every one has. */
  readonly host?: LabHost;
  /** A shell script, run in the checkout. */
  readonly script: string;
  /** The one for after that has gone over to the second kernel, of a lab host that has one. */
  readonly afterKexec?: string;
  /** Programs in `tools/lab/programs`, without `.c`. */
  readonly programs: readonly string[];
  /** Whether its console is on this terminal, with a shell once the script has ended. There is no limit of time then. */
  readonly interactive: boolean;
  readonly seconds: number;
  /** Told each line that the script says. */
  readonly output: (line: string) => void;
  /** Told each line of the lab host's console. */
  readonly console?: (line: string) => void;
}

/** How a lab host ended. */
export interface LabEnd {
  /** The exit status of the script; undefined if the lab host ended without telling, or was interactive. */
  readonly status: number | undefined;
  /** What is known when there is no status. */
  readonly reason: string;
  /** Its kernel found that a processor does not answer any more: see {@link hang}. */
  readonly hung: boolean;
  readonly consoleLog: string;
  readonly channelLog: string;
}

/**
 * What the lab host's kernel says when one of its processors takes no interrupt any more, not even an NMI. Nothing that runs on a
 * processor can do that to it: QEMU's emulation of it has a flaw, which shows now and then while a guest with several vCPUs boots.
 */
const hang = /rcu: INFO: \w+ detected stalls|watchdog: BUG: soft lockup/;

/** Compiles a program for the lab host, with all of its libraries in it. @returns its path. */
async function compile(name: string): Promise<string> {
  const source = join(import.meta.dirname, "programs", `${name}.c`);
  const program = join(root, ".cache", "lab", "programs", name);
  if (!existsSync(program) || statSync(program).mtimeMs < statSync(source).mtimeMs) {
    mkdirSync(dirname(program), { recursive: true });
    await run("gcc", ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-static", source, "-o", program]);
  }
  return program;
}

/**
 * Boots a lab host, lets it do its task and waits for its end.
 *
 * @throws {DebianArchiveError} if something it is made of cannot be had here
 */
export async function runLab(task: LabTask): Promise<LabEnd> {
  const log = (message: string): void => task.output(`lab: ${message}`);
  await ensureQemu();
  const guest = await guestAssets(log);
  const image = await systemImage(log);
  const { host = {}, afterKexec = "" } = task;
  const secondKernel = host.secondKernel
    ? await debianKernel(join(root, ".cache", "lab", "kernels"), log, { backports: true })
    : undefined;
  const programs = await Promise.all(task.programs.map(compile));
  // They come along with the checkout: the lab host has no assembler.
  for (const name of observingPrograms) buildGuestProgram(name);
  const logs = join(root, ".cache", "lab", "logs");
  mkdirSync(logs, { recursive: true });
  const consoleLog = join(logs, `${task.name}-console.log`);
  const channelLog = join(logs, `${task.name}-output.log`);
  for (const path of [consoleLog, channelLog]) rmSync(path, { force: true });
  // What the lab host is made of that is gone when it is.
  const folder = join(root, ".cache", "lab", "hosts", task.name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  try {
    const { seconds, interactive } = task;
    const { systemd = false } = host;
    const debian = host.debianDisk === true ? await debianImage(log) : undefined;
    const common = { guest, debian, programs, systemd, seconds, interactive };
    const second = secondKernel && {
      kernel: secondKernel,
      initramfs: labInitramfs({ ...common, kernel: secondKernel, script: afterKexec }),
    };
    const initramfs = join(folder, "initramfs.cpio");
    writeFileSync(initramfs, labInitramfs({ ...common, kernel: guest, second, script: task.script }));
    const ownDisk = host.disk && (await makeExt4(join(folder, "disk.img"), host.disk));
    const disk = systemd ? await systemdImage(log) : (debian?.disk ?? ownDisk);
    const nvdimms = (host.nvdimms ?? []).map((size, index) => ({ path: join(folder, `nvdimm${index}`), size }));
    const devices = { systemImage: image, disk, nvdimms, consoleLog, channelLog, interactive };
    return { ...(await runQemu({ kernel: guest.kernel, initramfs, ...devices }, task)), consoleLog, channelLog };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function runQemu(machine: LabMachine, task: LabTask): Promise<Pick<LabEnd, "status" | "reason" | "hung">> {
  // NOTE: QEMU takes the end of its standard input as the end of whoever reads the channel, so there must be an input.
  const stdio = task.interactive ? "inherit" : "pipe";
  // Whatever ends this process ends the lab host too.
  const words = ["--pdeathsig", "KILL", "qemu-system-x86_64", ...labMachineOptions(machine)];
  const child = spawn("setpriv", words, { stdio });
  let status: number | undefined;
  let errors = "";
  let isLate = false;
  let hung = false;
  child.stderr?.on("data", (bytes: Buffer) => {
    errors += bytes.toString();
  });
  if (child.stdout !== null) {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const verdict = /^lab: the task ended with status (\d+)$/.exec(line)?.[1];
      if (verdict === undefined) task.output(line);
      else status = Number(verdict);
    });
  }
  const timer = task.interactive
    ? undefined
    : setTimeout(() => {
        isLate = true;
        child.kill("SIGKILL");
      }, task.seconds * 1000);
  const stop = new AbortController();
  if (!task.interactive) {
    const heed = (line: string): void => {
      task.console?.(line);
      if (hang.test(line)) {
        hung = true;
        child.kill("SIGKILL");
      }
    };
    void follow(machine.consoleLog, heed, stop.signal);
  }
  const end = await new Promise<string>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve(signal ?? `exit status ${code}`));
  });
  clearTimeout(timer);
  stop.abort();
  const reason = isLate
    ? `It took longer than ${task.seconds} s.`
    : hung
      ? "A processor of the lab host hangs."
      : `The lab host ended (${end}). ${errors}`.trim();
  return { status: isLate || hung ? undefined : status, reason, hung };
}

/** Tells each line of a file that grows. */
async function follow(path: string, tell: (line: string) => void, signal: AbortSignal): Promise<void> {
  const lines = new FileLines(path);
  try {
    for (;;) tell(await lines.next(signal));
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** The last lines of a log, of which there may be none. */
export function lastLines(path: string, count: number): string[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, "latin1").trimEnd().split(/\r?\n/).slice(-count);
}
