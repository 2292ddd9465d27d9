import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { buildGuestProgram } from "@cpr/guest-programs";
import { Host, type HostAction, unitName, type VmReport } from "@cpr/host";
import { table } from "../../../bench/report.ts";
import { FileLines } from "../../cpr-process.ts";
import { guestAssets, parseTick } from "../../guest-assets.ts";
import { loadSecondKernel } from "../kexec.ts";
import { beginningOfKernel, type ClockReading, monotonic, readClocks } from "../kexec-clock.ts";
import { makeDeviceDax } from "../persistent-memory.ts";
import type { Scenario } from "../scenario.ts";

// NOTE: it is built where this is imported first, which is not the lab host: that has no compiler.
const counter = buildGuestProgram("counter");
const folder = "/var/host-reboot";
const notesFile = `${folder}/notes.json`;
/** The folder of the VM that cannot be loaded, because that is elsewhere meanwhile. */
const folderOfLost = { path: `${folder}/lost`, meanwhile: `${folder}/away` };

/** How long a step of a guest may take that is emulated by an emulated processor, in seconds. */
const patience = 240;

/** What is to be known under the second kernel. */
interface Notes {
  readonly kernel: string;
  /** A tick that each guest was seen to count. */
  readonly ticks: Readonly<Record<string, number>>;
  readonly clocks: readonly [ClockReading, ClockReading];
  readonly epoch: number;
}

/** What the time of day was, in milliseconds, when CLOCK_MONOTONIC was 0. */
const epoch = (): number => Date.now() - monotonic();

/** Runs a program. @returns what it said, without white space around it */
async function run(program: string, ...words: readonly string[]): Promise<string> {
  return (await promisify(execFile)(program, words, { env: { ...process.env, SYSTEMD_COLORS: "0" } })).stdout.trim();
}

/** Options of `cpr run` for RAM in a file. */
const ram = (size: string, file: string): string[] => [
  ...["-m", size, "-object", `memory-backend-file,id=ram0,size=${size},share=on,mem-path=${file}`],
];

/** A registered VM whose guest counts. */
class CountingVm {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  /** Registers it with these options of `cpr run`. */
  async register(order: number, options: readonly string[]): Promise<void> {
    await run("cpr", "host", "add", this.name, "--order", String(order), "--", ...options);
  }

  /** Waits for a tick: that one, or a later one. @returns it */
  async tick(least: number): Promise<number> {
    return new FileLines(this.#console).until((line) => {
      const { tick = -1 } = parseTick(line) ?? {};
      return tick >= least ? tick : undefined;
    }, patience);
  }

  /** All that it has said. */
  said(): string {
    return readFileSync(this.#console, "latin1");
  }

  /** All that it has counted. */
  counted(): readonly { readonly tick: number; readonly uptime: number }[] {
    return this.said()
      .split("\n")
      .flatMap((line) => parseTick(line) ?? []);
  }

  get #console(): string {
    return `/var/lib/cpr/vms/${this.name}/console.log`;
  }
}

const dax = new CountingVm("dax");
const tmpfs = new CountingVm("tmpfs");
const lost = new CountingVm("lost");
const vms = [dax, tmpfs, lost];

/** Waits until the VMs are in these states, as `cpr host list` shows them: `unknown` is one that has not answered in time. */
async function untilStates(expected: Readonly<Record<string, string>>): Promise<void> {
  for (const end = performance.now() + patience * 1000; ; ) {
    const states = Object.fromEntries((await new Host().list()).map(({ name, state }) => [name, state]));
    if (!Object.values(states).includes("unknown") || performance.now() > end) {
      assert.deepEqual(states, expected);
      return;
    }
  }
}

/** What a save or a load did, by the names of the VMs. */
type Outcomes = ReadonlyMap<string, VmReport>;

/** What the last one did. */
function outcomes(action: HostAction): Outcomes {
  const report = new Host().reports().find((each) => each.action === action);
  return new Map(report?.vms.map((vm) => [vm.name, vm]));
}

/** Neither systemd nor the unit has anything to complain of. */
async function checkSystem(): Promise<void> {
  assert.equal(await run("systemctl", "is-system-running", "--wait"), "running");
  assert.equal(await run("systemctl", "is-active", unitName), "active");
  assert.equal(await run("journalctl", "--boot", "--quiet", "--priority=warning", `--unit=${unitName}`), "");
}

/**
 * How long each guest stood still, in parts, in milliseconds: until its checkpoint was complete; until systemd had stopped all
 * else; until the second kernel ran; until the unit was started; and until it ran again. The last number is all of it.
 */
async function standstills(
  { clocks, epoch: before }: Notes,
  saved: Outcomes,
  loaded: Outcomes,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const kernel = beginningOfKernel(clocks, readClocks());
  const [last = "{}"] = (await run("journalctl", "--boot=-1", "--lines=1", "--output=json")).split("\n");
  const stopped = Number((JSON.parse(last) as { __MONOTONIC_TIMESTAMP?: string }).__MONOTONIC_TIMESTAMP) / 1000;
  const unitStarted = await run("systemctl", "show", "--value", "--property=ExecMainStartTimestampMonotonic", unitName);
  const started = kernel + Number(unitStarted) / 1000;
  const rows = [dax, tmpfs].map(({ name }): [string, number[]] => {
    const { downtime = 0, begun: saving = "", phases: { plan = 0, save = 0 } = {} } = saved.get(name) ?? {};
    const { begun: loading = "", phases: { start = 0, load = 0 } = {} } = loaded.get(name) ?? {};
    const complete = Date.parse(saving) - before + plan + save;
    const running = Date.parse(loading) - epoch() + kernel + start + load;
    const parts = [downtime, stopped - complete, kernel - stopped, started - kernel, running - started];
    return [name, [...parts, running - complete + downtime]];
  });
  return new Map(rows);
}

export const scenario: Scenario = {
  description:
    "systemctl kexec: the unit of systemd saves registered VMs and loads them under another kernel, all but one",
  seconds: 1500,
  host: { systemd: true, nvdimms: ["512M"], secondKernel: true },
  programs: ["tsc-clock"],

  async run({ report }) {
    const clock = readClocks();
    const { kernel, initramfs } = await guestAssets();
    const linux = [
      "-kernel",
      kernel,
      "-initrd",
      initramfs,
      "-append",
      "console=ttyS0 loglevel=5 cryptomgr.notests panic=-1",
    ];
    mkdirSync(folderOfLost.path, { recursive: true });
    // NOTE: the only one on KVM: of two guests that KVM ran at once in a lab host, one had a triple fault now and then.
    await dax.register(1, ["-accel", "kvm", ...linux, ...ram("256M", `${await makeDeviceDax()},align=2M`)]);
    await tmpfs.register(2, ["-accel", "interp", "-kernel", counter, ...ram("128M", "/dev/shm/tmpfs.ram")]);
    process.chdir(folderOfLost.path);
    await lost.register(3, ["-accel", "interp", "-kernel", counter, "-m", "128M"]);
    await run("cpr", "host", "start", dax.name, tmpfs.name);
    for (const vm of [dax, tmpfs]) {
      await vm.tick(1);
      report(`${vm.name}: its guest counts`);
    }
    report(await run("cpr", "host", "install-unit"));
    // It starts the one that does not run yet.
    await run("systemctl", "enable", "--now", unitName);
    await lost.tick(1);
    await checkSystem();
    await untilStates({ dax: "running", tmpfs: "running", lost: "running" });
    report(`Three guests run under Linux ${release()}. ${await run("systemd-analyze", "time")}`);

    renameSync(folderOfLost.path, folderOfLost.meanwhile);
    loadSecondKernel();
    const ticks = Object.fromEntries(vms.map((vm) => [vm.name, vm.counted().at(-1)?.tick ?? 0]));
    const notes: Notes = { kernel: release(), ticks, clocks: [clock, readClocks()], epoch: epoch() };
    writeFileSync(notesFile, JSON.stringify(notes));
    await run("systemctl", "kexec");
    await delay(patience * 1000);
  },

  async afterKexec({ report }) {
    const notes = JSON.parse(readFileSync(notesFile, "utf8")) as Notes;
    assert.notEqual(release(), notes.kernel, "the kernel");
    report(`systemctl status ${unitName}:\n${await run("systemctl", "status", "--no-pager", "--full", unitName)}`);
    report(`cpr host report:\n${await run("cpr", "host", "report")}`);
    await checkSystem();
    const [saved, loaded] = [outcomes("save"), outcomes("load")];
    for (const { name } of [dax, tmpfs]) assert.equal(loaded.get(name)?.outcome, "loaded", name);
    assert.equal(saved.get(dax.name)?.ram?.copied, 0, "RAM on the DAX device that was copied");
    assert.equal(saved.get(tmpfs.name)?.ram?.inPlace, 0, "RAM on tmpfs that was left in place");
    assert.equal(loaded.get(lost.name)?.outcome, "failed");
    const why = loaded.get(lost.name)?.error?.message ?? "";
    assert.ok(why.includes(folderOfLost.path), why);
    await untilStates({ dax: "running", tmpfs: "running", lost: "saved" });
    assert.match(await run("journalctl", "--boot", `--unit=${unitName}`), /lost: failed/);

    renameSync(folderOfLost.meanwhile, folderOfLost.path);
    await run("cpr", "host", "load", lost.name);
    const stoodStill = await standstills(notes, saved, loaded);
    for (const vm of vms) {
      const before = notes.ticks[vm.name] ?? 0;
      // A guest on a busy host may be late by seconds; one that had noticed would be by all the time that it stood still.
      const most = Math.max(...[...stoodStill.values()].map((parts) => parts.at(-1) ?? 0)) / 2000;
      await vm.tick(before + 5);
      const counted = vm.counted();
      for (const [index, { tick, uptime }] of counted.entries()) {
        const next = (counted[0]?.tick ?? 0) + index;
        assert.ok(
          tick === next,
          `${vm.name}: tick ${tick} instead of ${next}. What it said last:\n${vm.said().slice(-5000)}`,
        );
        const gap = uptime - (counted[index - 1]?.uptime ?? uptime);
        assert.ok(gap < most, `${vm.name}: ${gap} s between tick ${tick - 1} and tick ${tick}, at most ${most}`);
      }
      report(`${vm.name}: from tick ${before} on it has counted to ${counted.length - 1}, without a gap in its uptime`);
    }
    const rows = [...stoodStill].map(([name, parts]) => [
      name,
      ...parts.map((milliseconds) => milliseconds.toFixed(0)),
    ]);
    report(table(["ms", "save", "systemd's stop", "kexec", "boot", "start and load", "stood still"], rows));
  },
};
