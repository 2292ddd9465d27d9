/**
 * `npm run demo`: boots a stock Debian kernel, checkpoints it with its RAM left in place, quits, and carries it on in a new
 * process. Where no Debian archive can be reached, the repository's own guest program takes the kernel's part.
 */
import { mkdirSync, rmSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { buildGuestProgram } from "@cpr/guest-programs";
import { CprProcess, FileLines } from "./cpr-process.ts";
import { DebianArchiveError } from "./debian-archive.ts";
import { firstLine, guestAssets, parseTick } from "./guest-assets.ts";
import { root } from "./workspace.ts";

// Paths are given, and shown, as somebody would write them who stands at the root of the checkout.
process.chdir(root);
const near = (path: string): string => relative(root, path);

interface Guest {
  readonly options: readonly string[];
  readonly firstLine: string;
}

async function chooseGuest(): Promise<Guest> {
  try {
    const { kernel, kernelVersion, initramfs } = await guestAssets(console.log);
    console.log(`The guest: Debian's kernel ${kernelVersion} and busybox.`);
    const append = "console=ttyS0 cryptomgr.notests";
    return { options: ["-kernel", near(kernel), "-initrd", near(initramfs), "-append", append], firstLine };
  } catch (error) {
    if (!(error instanceof DebianArchiveError)) throw error;
    console.log(`No Debian archive can be reached (${error.message}).`);
    console.log("The guest: this repository's own counter program.");
    return { options: ["-kernel", near(buildGuestProgram("counter"))], firstLine: "cpr guest: counter is up" };
  }
}

const folder = join(".cache", "demo");
const ram = `/dev/shm/cpr-demo-${process.pid}`;
const state = join(folder, "vm.state");
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });

const guest = await chooseGuest();
const options = (log: string): string[] => [
  ...["-object", `memory-backend-file,id=ram0,size=256M,mem-path=${ram},share=on`, "-m", "256M"],
  ...guest.options,
  ...["-serial", `file:${log}`],
];

/** A command line as it is typed in a shell. */
const typed = (words: readonly string[]): string =>
  words.map((word) => (word.includes(" ") ? `"${word}"` : word)).join(" ");

/** Shows a command as it is given, and the answer. */
async function tell(machine: CprProcess, line: string): Promise<string> {
  const answer = await machine.command(line);
  console.log(`(cpr) ${line}${answer === "" ? "" : `\n${answer}`}`);
  return answer;
}

/** Shows the console until the guest has counted `ticks` more times; returns the last count. */
async function watch(lines: FileLines, ticks: number, seconds: number): Promise<{ tick: number; uptime: number }> {
  let seen = 0;
  return lines.until((line) => {
    console.log(`    ${line}`);
    const tick = parseTick(line);
    seen += tick === undefined ? 0 : 1;
    return seen === ticks ? tick : undefined;
  }, seconds);
}

try {
  const firstLog = join(folder, "console-1.log");
  console.log(`\n$ cpr run ${typed(options(firstLog))} -monitor stdio`);
  const first = new CprProcess(options(firstLog));
  await first.ready();
  const firstLines = new FileLines(firstLog);
  const started = performance.now();
  await firstLines.until((line) => {
    console.log(`    ${line}`);
    return line.includes(guest.firstLine) ? true : undefined;
  }, 300);
  console.log(`--- userspace after ${((performance.now() - started) / 1000).toFixed(1)} s`);
  const before = await watch(firstLines, 3, 60);

  await tell(first, "info status");
  await tell(first, "migrate_set_parameter mode cpr-reboot");
  await tell(first, "migrate_set_capability x-ignore-shared on");
  const stopped = performance.now();
  await tell(first, `migrate -d file:${state}`);
  await tell(first, "info status");
  console.log("(cpr) quit");
  await first.quit();
  console.log(`--- the process is gone; the state file has ${statSync(state).size} bytes, RAM stays in ${ram}`);

  const secondLog = join(folder, "console-2.log");
  console.log(`\n$ cpr run ${typed(options(secondLog))} -monitor stdio -incoming defer`);
  const second = new CprProcess([...options(secondLog), "-incoming", "defer"]);
  await second.ready();
  await tell(second, "info status");
  await tell(second, "migrate_set_parameter mode cpr-reboot");
  await tell(second, "migrate_set_capability x-ignore-shared on");
  await tell(second, `migrate_incoming file:${state}`);
  const stoodStill = performance.now() - stopped;
  const status = await tell(second, "info status");
  const after = await watch(new FileLines(secondLog), 3, 60);
  await second.quit();

  console.log(`--- the guest stood still for ${stoodStill.toFixed(0)} ms, both processes' ends and starts included`);
  const expected = after.tick - before.tick;
  const elapsed = after.uptime - before.uptime;
  console.log(
    `--- it counted on from ${before.tick} to ${after.tick}; its uptime went from ${before.uptime} to ${after.uptime} s`,
  );
  if (status !== "VM status: running" || expected < 1 || Math.abs(elapsed - expected) > 2) {
    console.log("--- that is not what it should be");
    process.exitCode = 1;
  }
} finally {
  rmSync(ram, { force: true });
}
