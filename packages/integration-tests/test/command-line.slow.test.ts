import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildGuestProgram } from "@cpr/guest-programs";
import { expect, it } from "vitest";
import { cprCommand } from "../../../tools/cpr-process.ts";
import { goldenFolder } from "../../../tools/golden-checkpoints.ts";
import { beginCommand, type CommandEnd } from "./command.ts";
import { QmpProcess } from "./qmp-process.ts";
import { scratchFolder } from "./scratch.ts";

const cpr = (folder: string, ...words: string[]): Promise<CommandEnd> => beginCommand(folder, words).ended;

const objectIn = (folder: string): string[] => [
  "-object",
  `memory-backend-file,id=ram0,size=32M,mem-path=${join(folder, "ram")},share=on`,
];

it("save tells what it will do, saves, and ends the VM; load carries the guest on with the settings that the checkpoint has", async () => {
  const folder = scratchFolder();
  const source = await QmpProcess.start({ folder, name: "source", options: objectIn(folder) });
  await source.untilPrinted("B");
  const before = await source.execute("query-migrate-parameters");

  const rehearsed = await cpr(folder, "save", "source.qmp", "vm.state", "--dry-run");
  expect(rehearsed).toMatchObject({ status: 0, stderr: "" });
  expect(rehearsed.stdout).toContain(`Checkpoint: file:${join(folder, "vm.state")}`);
  expect(rehearsed.stdout).toContain("is shared and can be found again, so it stays in place");
  expect(rehearsed.stdout).toMatch(/Free space there: [\d.]+ [KMGT]iB/);
  expect(existsSync(join(folder, "vm.state"))).toBe(false);
  expect(await source.execute("query-migrate-parameters")).toEqual(before);
  expect((await source.status()).running).toBe(true);

  const reason = `Could not open '${join(folder, "missing", "vm.state")}': No such file or directory`;
  for (const options of [["--dry-run"], []]) {
    const nowhere = await cpr(folder, "save", "source.qmp", "missing/vm.state", ...options);
    expect(nowhere).toMatchObject({ status: 3, stderr: `cpr: ${reason}\n` });
    expect(nowhere.stdout).toContain(`Refused: ${reason}`);
  }
  const failed = await cpr(folder, "save", "source.qmp", "exec:cat > /dev/null; exit 5");
  expect(failed).toMatchObject({ status: 3 });
  expect(await source.execute("query-migrate-parameters")).toEqual(before);
  expect((await source.status()).running).toBe(true);

  const status = await cpr(folder, "status", "source.qmp", "--json");
  expect(JSON.parse(status.stdout)).toMatchObject({ running: true, status: "running", processors: 1 });

  const saved = await cpr(folder, "save", "source.qmp", "vm.state", "--quit");
  expect(saved).toMatchObject({ status: 0 });
  expect(saved.stdout).toMatch(/Saved to file:.*: 0 bytes of RAM copied, 32 MiB left in place/);
  expect((await source.ended).status).toBe(0);

  const target = await QmpProcess.start({
    folder,
    name: "target",
    options: [...objectIn(folder), "-incoming", "defer"],
  });
  const nothing = await cpr(folder, "load", "target.qmp", "elsewhere.state");
  expect(nothing.status).toBe(3);
  expect(nothing.stderr).toContain("No such file or directory");
  expect(nothing.stderr).toContain("The VM waits as before");
  expect((await target.status()).status).toBe("inmigrate");
  const loaded = await cpr(folder, "load", "target.qmp", "vm.state");
  expect(loaded).toMatchObject({
    status: 0,
    stdout: `Loaded from file:${join(folder, "vm.state")}; the VM is running.\n`,
  });
  await target.untilPrinted("B");
});

it("save refuses before the guest is stopped what cannot work, with every reason and the documented status", async () => {
  const folder = scratchFolder();
  const source = await QmpProcess.start({ folder, name: "source" });
  const refused = await cpr(folder, "save", "source.qmp", "unix:elsewhere.sock");
  expect(refused.status).toBe(7);
  expect(refused.stdout).toContain("Refused: ");
  expect(refused.stderr).toMatch(/^cpr: .*streams from one instance to the other/);
  const wrong = await cpr(folder, "save", "source.qmp", "vm.state", "--set", "no-such-parameter=1");
  expect(wrong).toMatchObject({ status: 2 });
  expect(wrong.stderr).toContain("invalid parameter value: no-such-parameter");
  expect((await cpr(folder, "save", "nobody.qmp", "vm.state")).status).toBe(3);
  expect(source.eventNames()).not.toContain("STOP");
  expect((await source.status()).running).toBe(true);
});

it("save is given up with Ctrl-C, and the VM runs on", async () => {
  const folder = scratchFolder();
  const source = await QmpProcess.start({ folder, name: "source" });
  await source.untilPrinted("B");
  const { child, ended } = beginCommand(folder, ["save", "source.qmp", "vm.state", "--bandwidth", "64K"]);
  await source.untilMigration("active");
  child.kill("SIGINT");
  expect(await ended).toMatchObject({ status: 7, stderr: expect.stringContaining("The migration was cancelled") });
  expect(existsSync(join(folder, "vm.state"))).toBe(false);
  await source.untilPrinted("B");
  const again = await cpr(
    folder,
    "save",
    "source.qmp",
    "vm.state",
    "--mapped-ram",
    "--multifd",
    "2",
    "--json",
    "--set",
    "max-bandwidth=0",
  );
  expect(again.status, again.stderr).toBe(0);
  const { plan, result } = JSON.parse(again.stdout) as { plan: unknown; result: unknown };
  expect(plan).toMatchObject({ mode: "cpr-reboot", refusals: [] });
  expect(result).toMatchObject({ status: "completed", ram: { "x-in-place": 0 } });
});

it("monitor answers lines of a pipe as the VM's own monitor does", async () => {
  const folder = scratchFolder();
  const source = await QmpProcess.start({ folder, name: "source" });
  const { child, ended } = beginCommand(folder, ["monitor", "source.qmp"]);
  child.stdin?.end("info status\nmigrate_set_parameter mode nothing\nstop\ninfo status\n");
  const { status, stdout } = await ended;
  expect(status).toBe(0);
  expect(stdout).toContain("VM status: running");
  expect(stdout).toMatch(/Error: .*nothing/);
  expect(stdout).toContain("VM status: paused");
  expect((await source.status()).status).toBe("paused");
});

it("inspect shows what is in a checkpoint, also through a command, and finds what is damaged", async () => {
  const folder = scratchFolder();
  const packed = join(goldenFolder, "format-3-mapped.state.gz");
  const { gunzipSync } = await import("node:zlib");
  const whole = gunzipSync(readFileSync(packed));
  writeFileSync(join(folder, "vm.state"), whole);
  const shown = await cpr(folder, "inspect", "vm.state");
  expect(shown).toMatchObject({ status: 0, stderr: "" });
  expect(shown.stdout).toMatch(/^processor {5}1 vCPU 'cpr64-v2'$/m);
  expect(shown.stdout).toMatch(/^capabilities {2}mapped-ram$/m);
  expect(shown.stdout).toMatch(/^made for {6}a restart\nboot {10}[0-9a-f-]{36}\nwriter {8}cpr \d/m);
  expect(shown.stdout).toMatch(/^ {2}com1 0 +uart-16550 +version \d+ +\d+ bytes$/m);
  const json = JSON.parse((await cpr(folder, "inspect", "vm.state", "--json")).stdout) as {
    ram: readonly { pages: number }[];
  };
  expect(json).toMatchObject({ format: 3, machine: "pc", mode: "cpr-reboot", runState: "running" });
  expect(json).toMatchObject({ purpose: "restart", bootId: expect.any(String), writer: { program: "cpr" } });
  expect(json.ram[0]?.pages).toBeGreaterThan(4000);
  const fields = await cpr(folder, "inspect", "vm.state", "--section", "com1");
  expect(fields.stdout).toMatch(/^ {2}lineControl: 0x3$/m);
  expect(await cpr(folder, "inspect", "vm.state", "--section", "com9")).toMatchObject({ status: 3 });
  const older = join(goldenFolder, "format-1-copied.state.gz");
  const unpacked = await cpr(folder, "inspect", `exec:gzip -dc ${older}`);
  expect(unpacked.stdout).toMatch(/format 1$/m);
  const damaged = Buffer.from(whole);
  const at = damaged.length - 100_000;
  damaged[at] = (damaged[at] as number) ^ 1;
  writeFileSync(join(folder, "damaged.state"), damaged);
  expect(await cpr(folder, "inspect", "damaged.state")).toMatchObject({
    status: 6,
    stderr: expect.stringContaining("The migration stream is damaged"),
  });
});

it("plugins shows what the parts can do, as the rules are computed from it", async () => {
  const { status, stdout } = await cpr(scratchFolder(), "plugins", "--supports");
  expect(status).toBe(0);
  expect(stdout).toMatch(/file: stores, seekable, parallel$/m);
  expect(stdout).toMatch(/memfd: shared$/m);
});

it("a VM's process ends with the one that was started, whichever Node that is, and a comma in a path is part of it", async () => {
  const folder = scratchFolder();
  mkdirSync(join(folder, "a, b"));
  // By its first line: the Node that is installed here may be too old for the VM, which has one of its own then.
  const descriptor = openSync(join(folder, "set.state"), "w");
  const words = [
    "-m",
    "32M",
    "-S",
    "-add-fd",
    "fd=9,set=1",
    "-serial",
    "null",
    "-monitor",
    "none",
    "-qmp",
    "unix:a,, b/qmp,server=on,wait=off",
  ];
  const launched = spawn(cprCommand, ["run", "-kernel", buildGuestProgram("pages"), ...words], {
    cwd: folder,
    stdio: [...Array.from({ length: 9 }, () => "ignore" as const), descriptor],
  });
  closeSync(descriptor);
  const ended = once(launched, "exit");
  let status = await cpr(folder, "status", "a, b/qmp");
  while (status.status !== 0) {
    expect(status.status).toBe(3);
    status = await cpr(folder, "status", "a, b/qmp");
  }
  expect(await cpr(folder, "status", "unix:a,, b/qmp,server=on,wait=off")).toEqual(status);
  launched.kill("SIGTERM");
  expect(await ended).toEqual([0, null]);
  expect(existsSync(join(folder, "a, b", "qmp"))).toBe(false);
});
