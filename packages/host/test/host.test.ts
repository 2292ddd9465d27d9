import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Kernel } from "@cpr/core";
import { describe, expect, it, onTestFinished } from "vitest";
import { Host } from "../src/host.ts";
import { vmFiles } from "../src/host-folders.ts";
import { lockHost } from "../src/host-lock.ts";
import { summaryOf, type VmReport } from "../src/host-report.ts";
import { VmProcess } from "../src/vm-process.ts";
import { scratchHost } from "./scratch.ts";

const definition = { options: [], workingDirectory: "/", order: 0, timeout: 60, autostart: true };

/** A host with VMs whose processes are this script of a shell, and what was told of them. */
function hostOf(script: string, names: readonly string[], more: Partial<typeof definition> = {}) {
  const folders = scratchHost();
  const host = new Host(folders);
  for (const name of names) host.add(name, { ...definition, ...more });
  onTestFinished(async () => {
    for (const name of names) await VmProcess.find(vmFiles(folders, name))?.end();
  });
  const told: VmReport[] = [];
  const common = {
    names: [],
    wait: false,
    signal: new AbortController().signal,
    tell: (vm: VmReport) => void told.push(vm),
  };
  return { folders, host, told, options: { ...common, program: ["/bin/sh", "-c", script] } };
}

/** One that could load, if there were something. */
const loading = { kernel: new Kernel([]), again: false, autostart: false };

describe("a VM that does not start", () => {
  it("is reported with what its process said last, and the others go on", async () => {
    const script =
      'case "$2" in a) echo "cpr: note" >&2; echo "cpr: no kernel" >&2; echo "Name one." >&2;; esac; exit 3';
    const { host, told, options } = hostOf(script, ["a", "b"]);
    const report = await host.start(options);
    expect(report).toMatchObject({ action: "start", complete: true });
    expect(new Set(report.vms)).toEqual(new Set(told));
    const errors = Object.fromEntries(report.vms.map(({ name, outcome, error }) => [name, { outcome, error }]));
    expect(errors).toMatchObject({
      a: { outcome: "failed", error: { message: "VM 'a' did not start: no kernel", hint: "Name one." } },
      b: { outcome: "failed", error: { message: "VM 'b' did not start: it ended without a word" } },
    });
    expect(summaryOf(report)).toMatch(/^start at .*: 2 failed in \d+ ms$/);
    expect(await host.list()).toMatchObject([
      { name: "a", state: "failed" },
      { name: "b", state: "failed" },
    ]);
  });

  it("is ended when its time is up", async () => {
    const { folders, host, options } = hostOf("exec sleep 1000", ["a"], { timeout: 0.1 });
    const { vms } = await host.start(options);
    expect(vms[0]?.error).toMatchObject({
      code: "ERR_CPR_HOST_TIMEOUT",
      message: "VM 'a' was not started within 0.1 s",
    });
    expect(VmProcess.find(vmFiles(folders, "a"))).toBeUndefined();
  });

  it("is told when its folder is gone, or its program", async () => {
    const { host, options } = hostOf("", ["a"], { workingDirectory: "/nowhere" });
    expect((await host.start(options)).vms[0]?.error?.message).toContain("there is no folder '/nowhere'");
    const other = hostOf("", ["a"]);
    const { vms } = await other.host.start({ ...other.options, program: ["/nowhere/cpr"] });
    expect(vms[0]?.error?.message).toContain("No such file or directory");
  });
});

describe("a VM that has a checkpoint", () => {
  it("is neither started afresh nor forgotten, until the checkpoint is discarded", async () => {
    const { folders, host, options } = hostOf("exit 3", ["a"]);
    writeFileSync(vmFiles(folders, "a").checkpoint, "state");
    expect(await host.list()).toMatchObject([{ state: "saved", checkpoint: { bytes: 5 } }]);
    expect((await host.start(options)).vms).toMatchObject([{ error: { code: "ERR_CPR_HOST_SAVED" } }]);
    expect(() => host.remove("a")).toThrow("VM 'a' has a checkpoint");
    host.discard("a");
    expect(await host.list()).toMatchObject([{ state: "failed" }]);
    host.remove("a");
    expect(await host.list()).toEqual([]);
  });

  it("is not loaded from one that a process had, unless that is asked for", async () => {
    const { folders, host, options } = hostOf("exit 3", ["a"]);
    const { checkpoint } = vmFiles(folders, "a");
    writeFileSync(`${checkpoint}.in-use`, "state");
    expect(await host.list()).toMatchObject([{ state: "unsettled" }]);
    const { vms } = await host.load({ ...options, ...loading });
    expect(vms).toMatchObject([{ outcome: "failed", error: { code: "ERR_CPR_HOST_UNSETTLED" } }]);
    // It is tried, and stays as doubtful as it was.
    const again = await host.load({ ...options, ...loading, again: true });
    expect(again.vms).toMatchObject([{ outcome: "failed", error: { code: "ERR_CPR_HOST_START" } }]);
    expect(await host.list()).toMatchObject([{ state: "unsettled" }]);
  });

  it("keeps it when its process does not start", async () => {
    const { folders, host, options } = hostOf("exit 3", ["a"]);
    writeFileSync(vmFiles(folders, "a").checkpoint, "state");
    expect((await host.load({ ...options, ...loading })).vms).toMatchObject([
      { error: { code: "ERR_CPR_HOST_START" } },
    ]);
    expect(await host.list()).toMatchObject([{ state: "saved", last: { outcome: "failed" } }]);
  });
});

describe("VMs without a checkpoint", () => {
  it("are left alone by a load, and started afresh by one at boot if they are to be", async () => {
    const { host, options } = hostOf("exit 3", ["a"]);
    expect((await host.load({ ...options, ...loading })).vms).toMatchObject([{ outcome: "skipped" }]);
    const atBoot = await host.load({ ...options, ...loading, autostart: true });
    expect(atBoot.vms).toMatchObject([{ error: { code: "ERR_CPR_HOST_START" } }]);
    const other = hostOf("exit 3", ["a"], { autostart: false });
    const { vms } = await other.host.load({ ...other.options, ...loading, autostart: true });
    expect(vms).toMatchObject([{ outcome: "skipped", note: "it has no checkpoint" }]);
  });

  it("and without a process are skipped by a save", async () => {
    const { host, options } = hostOf("exit 3", ["a"]);
    const report = await host.save({ ...options, purpose: "reboot" });
    expect(report.vms).toMatchObject([{ outcome: "skipped", note: "it does not run" }]);
    expect(host.reports()).toEqual([report]);
  });
});

describe("the registered VMs", () => {
  it("are worked on by one command at a time", async () => {
    const { folders, host, options } = hostOf("exit 3", ["a"]);
    using _ = lockHost(folders);
    await expect(host.start(options)).rejects.toThrow("Another command works on the registered VMs");
    expect(() => host.add("b", definition)).toThrow("Another command works on the registered VMs");
  });

  it("wait for each other if they are told to", async () => {
    const { folders, host, options } = hostOf("exit 3", ["a"]);
    const lock = lockHost(folders);
    const waiting = host.start({ ...options, wait: true });
    const given = host.start({ ...options, wait: true, signal: AbortSignal.abort() });
    await expect(given).rejects.toThrow("Another command works on the registered VMs");
    lock[Symbol.dispose]();
    expect((await waiting).vms).toMatchObject([{ outcome: "failed" }]);
  });

  it("are named by those who know them", async () => {
    const { host, options } = hostOf("exit 3", ["a"]);
    await expect(host.start({ ...options, names: ["a", "b"] })).rejects.toThrow("There is no registered VM 'b'");
    expect(() => host.remove("b")).toThrow("There is no registered VM 'b'");
    expect((await host.save({ ...options, names: ["a", "a"], purpose: "restart" })).vms).toHaveLength(1);
  });

  it("go on when one of them cannot be read", async () => {
    const { folders, host, options } = hostOf("exit 3", ["a", "b"]);
    writeFileSync(vmFiles(folders, "a").definition, "{");
    const { vms } = await host.save({ ...options, purpose: "restart" });
    expect(vms).toMatchObject([
      { name: "a", outcome: "failed", error: { code: "ERR_CPR_HOST_DEFINITION" } },
      { name: "b", outcome: "skipped" },
    ]);
    expect(await host.list()).toMatchObject([
      { name: "a", problem: expect.stringContaining("it is no JSON") },
      { name: "b" },
    ]);
    host.remove("a");
  });

  it("are not begun any more when the command is ended", async () => {
    const { host, options } = hostOf("exit 3", ["a"]);
    const { vms } = await host.start({ ...options, signal: AbortSignal.abort() });
    expect(vms).toMatchObject([{ outcome: "skipped", note: "the command was ended" }]);
  });
});

describe("a process of a VM", () => {
  it("is not taken for another one that has its number", () => {
    const folders = scratchHost();
    const files = vmFiles(folders, "a");
    mkdirSync(folders.runtime, { recursive: true });
    const note = (started: string) => writeFileSync(files.process, JSON.stringify({ pid: process.pid, started }));
    const fields = readFileSync("/proc/self/stat", "latin1").split(") ").at(-1)?.split(" ") ?? [];
    note(fields[19] as string);
    expect(VmProcess.find(files)?.pid).toBe(process.pid);
    note("1");
    expect(VmProcess.find(files)).toBeUndefined();
    rmSync(files.process);
    mkdirSync(files.process);
    expect(VmProcess.find(files)).toBeUndefined();
  });
});
