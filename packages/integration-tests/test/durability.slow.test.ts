import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { buildGuestProgram } from "@cpr/guest-programs";
import { describe, expect, it, onTestFinished } from "vitest";
import { CprProcess, FileLines } from "../../../tools/cpr-process.ts";
import { DebianArchiveError } from "../../../tools/debian-archive.ts";
import { type ScratchMachine, scratchMachine } from "./scratch.ts";
import { attachStrace, findStrace, type Strace } from "./strace.ts";

const kernel = buildGuestProgram("pages");
const older = "an older checkpoint";

/** A guest that runs, with an older checkpoint where it will be saved. */
async function running(machine: ScratchMachine, under: readonly string[] = []): Promise<CprProcess> {
  const process = new CprProcess(machine.options(), { UV_THREADPOOL_SIZE: "1" }, under);
  onTestFinished(() => process.kill("SIGKILL"));
  await process.ready();
  await process.command("migrate_set_parameter mode cpr-reboot");
  await untilBusy(machine);
  writeFileSync(machine.state, older);
  return process;
}

const untilBusy = ({ console }: ScratchMachine): Promise<true> =>
  new FileLines(console).until((line) => (line === "B" ? true : undefined), 30);

/** What lies beside the checkpoint and is neither RAM nor the console. */
const leftovers = ({ state, ram, console }: ScratchMachine): string[] =>
  readdirSync(dirname(state)).filter((name) => ![state, ram, console].map((path) => basename(path)).includes(name));

/** The VM runs on, and where it was to be saved everything is as it was. */
async function expectUnharmed(process: CprProcess, machine: ScratchMachine): Promise<void> {
  expect(await process.command("info status")).toBe("VM status: running");
  expect(await process.command("info migrate")).toContain("Migration status: failed");
  expect(readFileSync(machine.state, "latin1")).toBe(older);
  expect(leftovers(machine)).toEqual([]);
}

/** Lets the system calls of a process fail from outside, until it is called off. */
async function inject(strace: Strace, pid: number, call: string, rule: string): Promise<() => Promise<void>> {
  const tracer = await attachStrace(strace, pid, [`trace=${call}`, `inject=${call}:${rule}`]);
  const closed = new Promise<void>((resolve) => tracer.once("close", () => resolve()));
  return async () => {
    tracer.kill("SIGINT");
    await closed;
  };
}

/** The host's strace, or the reason why there is none. */
async function straceOr(skip: (reason: string) => never): Promise<Strace> {
  return findStrace().catch((error: unknown) => {
    if (error instanceof DebianArchiveError) return skip(error.message);
    throw error;
  });
}

describe("a save", () => {
  it("makes the file durable before it has its name, and then the name", async ({ skip }) => {
    const strace = await straceOr(skip);
    const machine = scratchMachine(kernel);
    const trace = join(dirname(machine.state), "trace");
    const calls = "pwrite64,fsync,link,rename,unlink";
    const under = ["env", ...Object.entries(strace.environment).map(([name, value]) => `${name}=${value}`)];
    const tracing = [...under, strace.path, "-f", "-y", "-e", `trace=${calls}`, "-o", trace];
    const vm = await running(machine, tracing);
    expect(await vm.command(`migrate file:${machine.state}`)).toBe("");
    await vm.quit();
    const temporary = "\\.vm\\.state\\.[-0-9a-f]+\\.tmp";
    const steps = [
      ["write", new RegExp(`pwrite64\\(\\d+<[^>]*${temporary}>`)],
      ["fsync of the file", new RegExp(`fsync\\(\\d+<[^>]*${temporary}>`)],
      ["rename", new RegExp(`rename\\("[^"]*${temporary}", "[^"]*/vm\\.state"`)],
      ["fsync of the folder", new RegExp(`fsync\\(\\d+<${dirname(machine.state)}>`)],
    ] as const;
    const happened = readFileSync(trace, "latin1")
      .split("\n")
      .flatMap((line) => steps.filter(([, pattern]) => pattern.test(line)).map(([name]) => name))
      .filter((name, index, all) => name !== all[index - 1]);
    expect(happened.slice(happened.lastIndexOf("write"))).toEqual(steps.map(([name]) => name));
  });
});

describe("a save that fails", () => {
  it.for([
    ["ENOSPC when it writes", "pwrite64", "error=ENOSPC:when=1", "No space left on device"],
    ["ENOSPC when it has written much", "pwrite64", "error=ENOSPC:when=4+", "No space left on device"],
    ["EIO when it writes", "pwrite64", "error=EIO:when=2", "Input/output error"],
    ["EDQUOT when it writes", "pwrite64", "error=EDQUOT:when=3+", "Disk quota exceeded"],
    ["EIO when the file is to be made durable", "fsync", "error=EIO:when=1", "Input/output error"],
    ["EIO when it is renamed", "rename", "error=EIO:when=1", "Input/output error"],
    ["EIO when the folder is to be made durable", "fsync", "error=EIO:when=2", "Input/output error"],
  ] as const)(
    "with %s leaves the older checkpoint and the VM as they were",
    { timeout: 120_000 },
    async ([_what, call, rule, reason], { skip }) => {
      const strace = await straceOr(skip);
      const machine = scratchMachine(kernel);
      const vm = await running(machine);
      const stop = await inject(strace, vm.pid, call, rule);
      expect(await vm.command(`migrate file:${machine.state}`)).toBe(
        `Error: Could not write '${machine.state}': ${reason}`,
      );
      await stop();
      await expectUnharmed(vm, machine);
      // Nothing is in the way of the next one.
      expect(await vm.command(`migrate file:${machine.state}`)).toBe("");
      expect(readFileSync(machine.state).subarray(0, 4).toString()).toBe("QEVM");
      expect(leftovers(machine)).toEqual([]);
    },
  );

  it.for([
    ["ENOSPC", "when=1", "No space left on device"],
    ["ENOSPC", "when=2+", "No space left on device"],
    ["EIO", "when=1", "Input/output error"],
  ] as const)(
    "because a thread that copies RAM meets %s (%s) leaves everything as it was",
    { timeout: 120_000 },
    async ([error, when, reason], { skip }) => {
      const strace = await straceOr(skip);
      const machine = scratchMachine(kernel);
      const vm = await running(machine);
      for (const name of ["mapped-ram", "multifd"]) {
        expect(await vm.command(`migrate_set_capability ${name} on`)).toBe("");
      }
      const calls = "pwrite64,pwritev,pwritev2";
      const stop = await inject(strace, vm.pid, calls, `error=${error}:${when}`);
      expect(await vm.command(`migrate file:${machine.state}`)).toContain(
        `Error: Could not write '${machine.state}': ${reason}`,
      );
      await stop();
      await expectUnharmed(vm, machine);
      expect(await vm.command(`migrate file:${machine.state}`)).toBe("");
      expect(leftovers(machine)).toEqual([]);
    },
  );

  it("by a kill leaves a temporary file at most, which the next save removes", { timeout: 120_000 }, async ({
    skip,
  }) => {
    const strace = await straceOr(skip);
    const machine = scratchMachine(kernel);
    const vm = await running(machine);
    await inject(strace, vm.pid, "pwrite64", "signal=SIGKILL:when=3");
    await vm.command(`migrate file:${machine.state}`).catch(() => undefined);
    expect((await vm.ended).signal).toBe("SIGKILL");
    expect(readFileSync(machine.state, "latin1")).toBe(older);
    expect(leftovers(machine)).toEqual([expect.stringMatching(/^\.vm\.state\..*\.tmp$/)]);
    const next = await running(machine);
    expect(await next.command(`migrate file:${machine.state}`)).toBe("");
    expect(readFileSync(machine.state).subarray(0, 4).toString()).toBe("QEVM");
    expect(leftovers(machine)).toEqual([]);
  });

  it("because files may not be that long (ulimit -f) leaves everything as it was", async () => {
    const machine = scratchMachine(kernel);
    const vm = await running(machine);
    // RAM is a file too, so the limit comes when the guest runs. The unit is bytes here.
    const limit = spawnSync("prlimit", ["--fsize=100000", "--pid", `${vm.pid}`], { encoding: "utf8" });
    expect([limit.status, limit.stderr]).toEqual([0, ""]);
    expect(await vm.command(`migrate file:${machine.state}`)).toBe(
      `Error: Could not write '${machine.state}': File too large`,
    );
    await expectUnharmed(vm, machine);
  });

  it("on a file system that is full leaves everything as it was", async ({ skip }) => {
    const machine = scratchMachine(kernel);
    const small = join(dirname(machine.state), "small");
    const mount = ["unshare", "--mount", "--map-root-user", "--user", "sh", "-c"];
    const script = `mkdir -p ${small} && mount -t tmpfs -o size=128k none ${small} && exec "$@"`;
    if (spawnSync(mount[0] as string, [...mount.slice(1), script, "sh", "true"]).status !== 0) {
      return skip("this host lets nobody mount a tmpfs in a namespace of its own");
    }
    const vm = await running(machine, [...mount, script, "sh"]);
    const state = join(small, "vm.state");
    expect(await vm.command(`migrate exec:cp ${machine.state} ${state}; cat > /dev/null`)).toBe("");
    await vm.command("cont");
    expect(await vm.command(`migrate file:${state}`)).toBe(
      `Error: Could not write '${state}': No space left on device`,
    );
    expect(await vm.command("info status")).toBe("VM status: running");
    // Looked at from inside, where the file system is.
    expect(await vm.command(`migrate exec:ls -A ${small} >&2; cat ${state} >&2; exit 1`)).toMatch(
      /: vm\.state; an older checkpoint$/,
    );
  });
});
