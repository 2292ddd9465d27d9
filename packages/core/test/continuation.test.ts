import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { VirtualMachine } from "../src/index.ts";
import { fakeVirtualMachine } from "./fakes/fake-machine.ts";
import { streams, transportFaults } from "./fakes/fake-plugin.ts";

let folder = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "cpr-continuation-"));
  vi.stubEnv("CPR_STATE_DIRECTORY", join(folder, "not", "there", "yet"));
});

afterEach(() => {
  vi.unstubAllEnvs();
  streams.clear();
  delete transportFaults.failCommit;
  rmSync(folder, { recursive: true });
});

const rightsFolder = (): string => join(folder, "not", "there", "yet", "continuations");

/** How many rights to go on are there. */
const rights = (): number => {
  try {
    return readdirSync(rightsFolder()).length;
  } catch {
    return 0;
  }
};

/** A VM whose device prints `!` when it is told that the guest may go on for the second time. */
const branching = { commandLine: "branches=1" };

async function saved(options = branching): Promise<{ machine: VirtualMachine; output: () => string }> {
  const { machine, output } = await fakeVirtualMachine(options);
  await machine.migrate("store:a");
  await machine.migrationDone();
  return { machine, output };
}

/** Loads the checkpoint into a new VM and ends that. Tells whether its device was told, and what the user was. */
async function load(options = branching) {
  const { machine, output } = await fakeVirtualMachine({ ...options, incoming: "defer" });
  await machine.migrateIncoming("store:a");
  await machine.stop();
  const { notices = [] } = machine.queryMigrate();
  await machine.quit();
  return { told: output(), noticed: notices.some((notice) => notice.includes("a new generation")) };
}

it("the first load of a checkpoint goes on as if nothing had happened, and each further one is told", async () => {
  const { machine } = await saved();
  await machine.quit();
  expect(rights()).toBe(1);
  expect(await load()).toEqual({ told: "", noticed: false });
  expect(rights()).toBe(0);
  expect(await load()).toEqual({ told: "!", noticed: true });
  expect(await load()).toEqual({ told: "!", noticed: true });
});

it("a VM that goes on after it was saved has the right, and a load of the checkpoint does not", async () => {
  const { machine, output } = await saved();
  await machine.cont();
  await machine.quit();
  expect(output()).toBe("");
  expect((await load()).told).toBe("!");
});

it("a VM that goes on after its checkpoint was loaded is told", async () => {
  const { machine, output } = await saved();
  expect((await load()).told).toBe("");
  await machine.cont();
  await machine.stop();
  expect(output()).toBe("!");
  await machine.quit();
});

it("a save that fails grants nothing, and the guest is not told", async () => {
  const { machine, output } = await fakeVirtualMachine(branching);
  transportFaults.failCommit = true;
  await machine.migrate("store:a");
  expect((await machine.migrationDone()).status).toBe("failed");
  await machine.quit();
  expect([rights(), output()]).toEqual([0, ""]);
});

it("where the right cannot be noted, the save says so and the guest is told", async () => {
  vi.stubEnv("CPR_STATE_DIRECTORY", "/dev/null/nowhere");
  const { machine } = await saved();
  expect(machine.queryMigrate()).toMatchObject({
    status: "completed",
    notices: [expect.stringContaining("will be given a new generation")],
  });
  await machine.quit();
  expect(await load()).toEqual({ told: "!", noticed: true });
});

it("nothing is noted for a VM for which it does not matter", async () => {
  const { machine } = await saved({ commandLine: "" });
  await machine.quit();
  expect(rights()).toBe(0);
  expect(await load({ commandLine: "" })).toEqual({ told: "", noticed: false });
});

it("of rights that nobody takes the oldest go, so that there are never more than a thousand or so", async () => {
  mkdirSync(rightsFolder(), { recursive: true });
  const old = Array.from({ length: 1030 }, (_, number) => join(rightsFolder(), String(number).padStart(32, "0")));
  for (const [number, path] of old.entries()) {
    writeFileSync(path, "cpr continuation\n");
    // The first is the newest.
    utimesSync(path, 10_000 - number, 10_000 - number);
  }
  const { machine } = await saved();
  await machine.quit();
  const left = new Set(readdirSync(rightsFolder()));
  expect(left.size).toBe(1024);
  expect(old.map((path) => left.has(basename(path)))).toEqual(old.map((_, number) => number < 1023));
  expect(await load()).toEqual({ told: "", noticed: false });
});
