import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { buildGuestProgram } from "@cpr/guest-programs";
import { QmpClient } from "@cpr/monitor";
import { expect, it, onTestFinished } from "vitest";
import { cprCommand } from "../../../tools/cpr-process.ts";
import { ensureDebianPackages } from "../../../tools/debian-archive.ts";
import { root } from "../../../tools/workspace.ts";
import { type BegunCommand, beginCommand, type CommandEnd } from "./command.ts";
import { scratchFolder } from "./scratch.ts";

/** A host of its own: its registered VMs, whose RAM is in files on tmpfs, and the commands that work on them. */
class TestHost {
  /** On a file system that outlives a reboot. */
  readonly state = mkdtempSync(join(mkdirs(join(root, ".cache", "host-tests")), "state-"));
  /** On tmpfs. */
  readonly folder = scratchFolder();
  readonly runtime = join(this.folder, "run");

  constructor() {
    onTestFinished(() => {
      for (const file of existsSync(this.runtime) ? readdirSync(this.runtime) : []) {
        if (file.endsWith(".json")) {
          const pid = this.pid(file.slice(0, -".json".length));
          if (existsSync(`/proc/${pid}`)) process.kill(pid, "SIGKILL");
        }
      }
      rmSync(this.state, { recursive: true, force: true });
    });
  }

  /** Begins `cpr host …`. */
  begin(...words: readonly string[]): BegunCommand {
    const environment = { CPR_STATE_DIRECTORY: this.state, CPR_RUNTIME_DIRECTORY: this.runtime };
    return beginCommand(this.folder, ["host", ...words], environment);
  }

  /** `cpr host …`, which must end with this status. */
  async command(status: number, ...words: readonly string[]): Promise<CommandEnd> {
    const end = await this.begin(...words).ended;
    expect(end, `${end.stdout}${end.stderr}`).toMatchObject({ status });
    return end;
  }

  /** Registers a VM with 32 MiB of RAM in the file `NAME.ram`. */
  async add(name: string, options: readonly string[] = []): Promise<void> {
    const size = "32M";
    const ram = `memory-backend-file,id=ram0,size=${size},mem-path=${name}.ram,share=on`;
    const kernel = buildGuestProgram("pages");
    await this.command(0, "add", name, ...options, "--", "-object", ram, "-m", size, "-kernel", kernel);
  }

  /** What `save`, `load` or `start` did with each VM, in the order in which it was done. */
  async work(status: number, ...words: readonly string[]): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const { stdout } = await this.command(status, ...words, "--json");
    return (JSON.parse(stdout) as { vms: Readonly<Record<string, unknown>>[] }).vms;
  }

  /** The state of each VM. */
  async states(): Promise<Readonly<Record<string, string>>> {
    const { stdout } = await this.command(0, "list", "--json");
    const listings = JSON.parse(stdout) as { name: string; state: string }[];
    return Object.fromEntries(listings.map(({ name, state }) => [name, state]));
  }

  file(name: string, file: string): string {
    return join(this.state, "vms", name, file);
  }

  /** Replaces something in the definition of a VM. */
  redefine(name: string, from: string, to: string): void {
    const file = this.file(name, "vm.json");
    writeFileSync(file, readFileSync(file, "utf8").replaceAll(from, to));
  }

  pid(name: string): number {
    return (JSON.parse(readFileSync(join(this.runtime, `${name}.json`), "utf8")) as { pid: number }).pid;
  }

  /** How often the guest has printed a letter on its console. */
  printed(name: string): number {
    return readFileSync(this.file(name, "console.log"), "latin1").split("B").length - 1;
  }

  async untilPrinted(name: string): Promise<void> {
    const before = this.printed(name);
    while (this.printed(name) === before) await delay(5);
  }

  async execute(name: string, command: string, values: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    await using client = await QmpClient.connect(join(this.runtime, `${name}.qmp`));
    return await client.execute(command, values);
  }
}

function mkdirs(path: string): string {
  mkdirSync(path, { recursive: true });
  return path;
}

it("saves VMs in their order and loads them in the other, with RAM in place or copied, running or paused", {
  timeout: 120_000,
}, async () => {
  const host = new TestHost();
  await host.add("db", ["--order", "1"]);
  await host.add("web", ["--order", "2"]);
  await host.add("cache", ["--order", "3"]);
  expect(await host.work(0, "start")).toMatchObject([
    { name: "db", outcome: "started", status: "running" },
    { name: "web", outcome: "started" },
    { name: "cache", outcome: "started" },
  ]);
  await host.untilPrinted("db");
  await host.execute("web", "stop");
  expect(await host.states()).toEqual({ db: "running", web: "paused", cache: "running" });
  expect(await host.work(0, "start")).toMatchObject(Array(3).fill({ outcome: "skipped" }));

  expect(await host.work(0, "save", "--for", "restart")).toMatchObject([
    { name: "cache", outcome: "saved", ram: { copied: 0, inPlace: 32 << 20 } },
    { name: "web", outcome: "saved", status: "paused" },
    { name: "db", outcome: "saved" },
  ]);
  expect(await host.states()).toEqual({ db: "saved", web: "saved", cache: "saved" });
  expect(readdirSync(host.runtime)).toEqual([]);
  expect(statSync(host.file("db", "checkpoint")).size).toBeLessThan(1 << 20);
  await host.command(7, "remove", "db");
  expect(await host.work(9, "start", "db")).toMatchObject([{ error: { code: "ERR_CPR_HOST_SAVED" } }]);

  expect(await host.work(0, "load")).toMatchObject([
    { name: "db", outcome: "loaded", status: "running" },
    { name: "web", outcome: "loaded", status: "paused" },
    { name: "cache", outcome: "loaded", status: "running" },
  ]);
  await host.untilPrinted("db");
  expect(existsSync(host.file("db", "checkpoint"))).toBe(false);
  expect(await host.work(0, "load")).toMatchObject(Array(3).fill({ outcome: "skipped" }));

  // For a reboot, what is on tmpfs is copied. The file can be gone then.
  expect(await host.work(0, "save", "db", "web")).toMatchObject([
    { name: "web", outcome: "saved" },
    { name: "db", outcome: "saved", ram: { inPlace: 0 }, note: expect.stringContaining("copied") },
  ]);
  rmSync(join(host.folder, "db.ram"));
  const { stdout } = await host.command(0, "load");
  expect(stdout).toMatch(/^db: loaded in \d+ ms; it is running$/m);
  expect(stdout).toMatch(/^cache: skipped; it is running\n {2}it has a process already$/m);
  expect(stdout).toMatch(/^load at .*: 2 loaded, 1 skipped in \d+ ms$/m);
  await host.untilPrinted("db");
  expect((await host.command(0, "report")).stdout).toContain("web: saved in");
});

it("goes on with the others when one cannot be saved or loaded, and loses nothing by it", {
  timeout: 120_000,
}, async () => {
  const host = new TestHost();
  for (const name of ["a", "b", "c"]) await host.add(name);
  await host.work(0, "start");
  for (const name of ["a", "b", "c"]) await host.untilPrinted(name);
  // Somebody has saved it elsewhere, and not let it run since.
  await host.execute("a", "migrate", { uri: `file:${join(host.folder, "elsewhere")}` });
  while ((await host.states())["a"] !== "postmigrate");
  const saved = await host.work(9, "save", "--for", "restart");
  expect(new Set(saved.map(({ name, outcome }) => `${name} ${outcome}`))).toEqual(
    new Set(["a failed", "b saved", "c saved"]),
  );
  expect(saved.find(({ name }) => name === "a")).toMatchObject({ error: { code: "ERR_CPR_MIGRATE_IN_POSTMIGRATE" } });
  await host.execute("a", "cont");
  await host.untilPrinted("a");
  expect(await host.states()).toEqual({ a: "running", b: "saved", c: "saved" });

  rmSync(join(host.folder, "b.ram"));
  const loaded = await host.work(9, "load");
  expect(loaded.find(({ name }) => name === "b")).toMatchObject({ error: { code: "ERR_CPR_RAM_GONE" } });
  expect(loaded.find(({ name }) => name === "c")).toMatchObject({ outcome: "loaded" });
  expect(await host.states()).toEqual({ a: "running", b: "saved", c: "running" });

  // What can be mended is loaded then.
  await host.work(0, "save", "--for", "restart", "c");
  host.redefine("c", "32M", "64M");
  expect(await host.work(9, "load", "c")).toMatchObject([{ outcome: "failed" }]);
  expect(await host.states()).toMatchObject({ c: "saved" });
  host.redefine("c", "64M", "32M");
  expect(await host.work(0, "load", "c")).toMatchObject([{ outcome: "loaded", status: "running" }]);
  await host.untilPrinted("c");
});

it("takes up what a killed command had begun, and never takes a guest back in time unasked", {
  timeout: 120_000,
}, async () => {
  const host = new TestHost();
  // RAM of its own, so that nothing but the host's care keeps the checkpoint from being loaded twice.
  await host.command(0, "add", "a", "--", "-m", "32M", "-kernel", buildGuestProgram("pages"));
  await host.work(0, "start");
  await host.untilPrinted("a");
  const checkpoint = host.file("a", "checkpoint");
  const inUse = `${checkpoint}.in-use`;

  // A command is killed while a process has the checkpoint.
  const kill = async (...words: readonly string[]): Promise<void> => {
    const { child, ended } = host.begin(...words);
    while (!existsSync(inUse)) await delay(1);
    child.kill("SIGKILL");
    await ended;
  };
  await kill("save");
  await host.command(0, "save");
  expect([existsSync(checkpoint), existsSync(inUse)]).toEqual([true, false]);
  expect(await host.states()).toEqual({ a: "saved" });
  await kill("load");
  await host.command(0, "load");
  expect([existsSync(checkpoint), existsSync(inUse)]).toEqual([false, false]);
  expect(await host.states()).toEqual({ a: "running" });
  await host.untilPrinted("a");

  await kill("save");
  await host.command(0, "load");
  expect(await host.states()).toEqual({ a: "running" });

  // The host loses power when the guest may have run already.
  await host.work(0, "save");
  await kill("load");
  process.kill(host.pid("a"), "SIGKILL");
  expect(await host.states()).toEqual({ a: "unsettled" });
  for (const words of [["load"], ["load", "--autostart", "a"], ["start"]]) {
    expect(await host.work(9, ...words)).toMatchObject([{ outcome: "failed" }]);
  }
  await host.command(7, "remove", "a");
  expect(await host.work(0, "load", "--again", "a")).toMatchObject([{ outcome: "loaded", status: "running" }]);
  expect(existsSync(inUse)).toBe(false);
});

it("gives up a VM whose time is up, and lets it run on; two commands do not work at once", {
  timeout: 120_000,
}, async () => {
  const host = new TestHost();
  await host.add("a", ["--timeout", "100"]);
  await host.work(0, "start");
  const pid = host.pid("a");
  // It answers nothing for now.
  process.kill(pid, "SIGSTOP");
  const save = host.begin("save");
  while (!existsSync(join(host.state, "report-save.json"))) await delay(1);
  expect((await host.command(5, "load")).stderr).toContain("Another command works on the registered VMs");
  save.child.kill("SIGINT");
  process.kill(pid, "SIGCONT");
  const given = await save.ended;
  expect(given).toMatchObject({ status: 9, stdout: expect.stringContaining("a: failed in") });

  host.redefine("a", '"timeout": 100', '"timeout": 1');
  process.kill(pid, "SIGSTOP");
  expect(await host.work(9, "save")).toMatchObject([{ error: { code: "ERR_CPR_HOST_TIMEOUT" } }]);
  process.kill(pid, "SIGCONT");
  await host.untilPrinted("a");
  expect(await host.states()).toEqual({ a: "running" });
});

it("checks the options of cpr run when they are given, and refuses what a VM without a terminal cannot have", async () => {
  const host = new TestHost();
  const refused = async (status: number, words: readonly string[], said: string): Promise<void> => {
    expect((await host.command(status, "add", "a", ...words)).stderr).toContain(said);
  };
  await refused(2, ["--", "-smp", "many"], "Invalid value 'many' for -smp");
  await refused(2, ["--", "-kernal", "x"], "unknown option");
  await refused(2, ["--", "-incoming", "defer"], "A registered VM cannot have -incoming");
  await refused(2, ["--", "-monitor", "stdio"], "A registered VM cannot have -monitor stdio");
  await refused(2, ["--order", "first", "--", "-m", "1G"], "Invalid value 'first' for --order");
  expect((await host.command(0, "list")).stdout).toBe("NAME  ORDER  STATE  RAM  CHECKPOINT  QMP SOCKET\n");
});

it("has a unit that systemd finds nothing wrong with", { timeout: 120_000 }, async () => {
  await ensureDebianPackages(["systemd"], { unless: () => existsSync("/usr/bin/systemd-analyze") });
  const host = new TestHost();
  await host.command(0, "install-unit", "--directory", host.folder);
  const unit = join(host.folder, "cpr-host.service");
  expect(readFileSync(unit, "utf8")).toContain(
    `ExecStart=-${process.execPath} ${cprCommand} host load --autostart --wait\n`,
  );
  const verify = () => spawnSync("systemd-analyze", ["verify", unit], { encoding: "utf8" });
  expect(verify()).toMatchObject({ status: 0, stderr: "" });
  writeFileSync(unit, readFileSync(unit, "utf8").replace("KillMode=", "KillMood="));
  expect(verify().stderr).toMatch(/Unknown key (name )?'KillMood'/);
});
