import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type OutgoingOptions, parseMemorySize } from "../src/index.ts";
import { type FakeOptions, fakeVirtualMachine, instructions, mebibyte, type, until } from "./fakes/fake-machine.ts";
import { blocks, keptMemory, streams, transportFaults } from "./fakes/fake-plugin.ts";

const names = (events: readonly { event: string; status?: string; pass?: number }[]): string[] =>
  events.map(({ event, status = "", pass = "" }) => `${event} ${status}${pass}`.trimEnd());

let folder = "";
let path = "";

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cpr-core-"));
  path = join(folder, "ram0");
  // The mark of a generation stands beside a file; the fake's memory only borrows its name.
  await writeFile(path, "");
});

afterEach(async () => {
  for (const key of Object.keys(transportFaults)) {
    delete transportFaults[key as keyof typeof transportFaults];
  }
  streams.clear();
  keptMemory.clear();
  blocks.length = 0;
  await rm(folder, { recursive: true });
});

/** A VM that keeps its RAM in place and saves in the mode that lets it. */
async function keepingMachine(options: FakeOptions = {}) {
  const fake = await fakeVirtualMachine({ path, ...options });
  fake.machine.settings.setParameter("mode", "keeping");
  fake.machine.settings.setCapability("x-ignore-shared", true);
  return fake;
}

/** Saves a VM that has counted for a while, and quits. */
async function saveAndQuit(uri: string, options: FakeOptions = {}, keep = true) {
  const { machine } = keep ? await keepingMachine(options) : await fakeVirtualMachine(options);
  await until(async () => (await instructions(machine)) > 50, "counting");
  type(machine, "xyz");
  await machine.migrate(uri);
  const information = await machine.migrationDone();
  expect(information.errorDescription).toBeUndefined();
  expect(information.status).toBe("completed");
  expect(machine.runState).toBe("postmigrate");
  const counted = await instructions(machine);
  await machine.quit();
  return { counted, information };
}

for (const thread of [false, true]) {
  for (const uri of ["store:a", "pipe:a"]) {
    describe(`to ${uri}, ${thread ? "with a machine thread" : "on one thread"}`, () => {
      it("saves with RAM in place and goes on in another VM", async () => {
        const { counted, information } = await saveAndQuit(uri, { thread });
        expect(information.ram).toMatchObject({ inPlace: mebibyte, transferred: 0 });
        expect(streams.get("a")?.length).toBeLessThan(100_000);
        const { machine, events } = await keepingMachine({ thread, incoming: "defer" });
        expect(machine.runState).toBe("inmigrate");
        expect(await instructions(machine)).toBe(0);
        await machine.migrateIncoming(uri);
        expect(machine.runState).toBe("running");
        expect(names(events)).toEqual(["RESUME"]);
        await until(async () => (await instructions(machine)) > counted, "going on");
        expect(machine.queryMigrate().status).toBe("completed");
        await machine.quit();
      });

      it("copies RAM that does not stay in place, without its zero pages", async () => {
        const { counted, information } = await saveAndQuit(uri, { thread }, false);
        expect(information.ram).toMatchObject({ inPlace: 0, normalPages: 2, zeroPages: mebibyte / 4096 - 2 });
        const { machine } = await fakeVirtualMachine({ thread, incoming: "defer" });
        await machine.stop();
        await machine.migrateIncoming(uri);
        expect(machine.runState).toBe("paused");
        expect(await instructions(machine)).toBe(counted);
        await machine.migrateIncoming(uri).then(
          () => expect.unreachable(),
          (error: Error) => expect(error.message).toBe("The incoming migration has already been started"),
        );
        await machine.cont();
        await until(async () => (await instructions(machine)) > counted, "going on");
        await machine.quit();
      });
    });
  }
}

describe("an outgoing migration", () => {
  it("has QEMU's statuses and events, in their order", async () => {
    const { machine, events } = await keepingMachine();
    expect(machine.queryMigrate()).toEqual({ status: "none", mode: "keeping", blockedReasons: [] });
    machine.settings.setCapability("events", true);
    await machine.migrate("store:a");
    await machine.migrationDone();
    expect(names(events)).toEqual([
      "MIGRATION setup",
      "STOP",
      "MIGRATION active",
      "MIGRATION_PASS 1",
      "MIGRATION device",
      "MIGRATION completed",
    ]);
    const { downtime, totalTime, setupTime, ram } = machine.queryMigrate();
    expect(downtime).toBeGreaterThan(0);
    expect(totalTime).toBeGreaterThanOrEqual(downtime as number);
    expect(totalTime).toBeGreaterThanOrEqual(setupTime as number);
    expect(ram?.passes).toBe(1);
    await machine.quit();
  });

  it("saves a VM that was paused as one that stays paused, without STOP", async () => {
    const first = await keepingMachine();
    await first.machine.stop();
    first.events.length = 0;
    await first.machine.migrate("store:a");
    await first.machine.migrationDone();
    expect(first.events).toEqual([]);
    await first.machine.quit();
    const { machine, events } = await keepingMachine({ incoming: "defer" });
    await machine.migrateIncoming("store:a");
    expect(machine.runState).toBe("paused");
    expect(events).toEqual([]);
    await machine.quit();
  });

  it("saves a guest that sleeps as one that sleeps", async () => {
    const first = await keepingMachine();
    type(first.machine, "Z");
    await until(() => first.machine.runState === "suspended", "sleep");
    await first.machine.migrate("store:a");
    await first.machine.migrationDone();
    await first.machine.quit();
    const { machine, events } = await keepingMachine({ incoming: "defer" });
    await machine.migrateIncoming("store:a");
    expect(machine.runState).toBe("suspended");
    expect(names(events)).toEqual(["RESUME"]);
    await machine.wakeUp();
    expect(machine.runState).toBe("running");
    await machine.quit();
  });

  it("saves a guest that was stopped while it slept as one that will sleep on", async () => {
    const first = await keepingMachine();
    type(first.machine, "Z");
    await until(() => first.machine.runState === "suspended", "sleep");
    await first.machine.stop();
    expect(first.machine.runState).toBe("paused");
    await first.machine.migrate("store:a");
    expect((await first.machine.migrationDone()).status).toBe("completed");
    await first.machine.quit();
    const { machine, events } = await keepingMachine({ incoming: "defer" });
    await machine.migrateIncoming("store:a");
    expect(machine.runState).toBe("paused");
    await expect(machine.wakeUp()).rejects.toThrow("Unable to wake up: guest is not in suspended state");
    await machine.cont();
    expect(machine.runState).toBe("suspended");
    await machine.cont();
    expect(machine.runState).toBe("suspended");
    // A reset forgets that it slept.
    await machine.stop();
    await machine.reset();
    await machine.cont();
    expect(machine.runState).toBe("running");
    expect(names(events)).toEqual(["RESUME", "STOP", "RESET", "RESUME"]);
    await machine.quit();
  });

  it("lets a guest sleep on when it fails, when it is continued, and when it was not to start by itself", async () => {
    const first = await keepingMachine();
    type(first.machine, "Z");
    await until(() => first.machine.runState === "suspended", "sleep");
    transportFaults.writesUntilFailure = 0;
    first.events.length = 0;
    await first.machine.migrate("store:a");
    expect((await first.machine.migrationDone()).status).toBe("failed");
    expect(first.machine.runState).toBe("suspended");
    expect(names(first.events)).toEqual(["STOP", "RESUME"]);
    delete transportFaults.writesUntilFailure;
    await first.machine.migrate("store:a");
    expect((await first.machine.migrationDone()).status).toBe("completed");
    await first.machine.cont();
    expect(first.machine.runState).toBe("suspended");
    // It has slept since, so its RAM is what it was: the checkpoint can be loaded.
    await first.machine.quit();
    const { machine } = await keepingMachine({ incoming: "defer" });
    await machine.stop();
    await machine.migrateIncoming("store:a");
    expect(machine.runState).toBe("paused");
    await machine.cont();
    expect(machine.runState).toBe("suspended");
    await machine.wakeUp();
    expect(machine.runState).toBe("running");
    await machine.quit();
  });

  it("takes a request of the guest that is not fulfilled yet along", async () => {
    const first = await keepingMachine({ thread: true });
    type(first.machine, "S");
    await first.machine.stop();
    await first.machine.migrate("store:a");
    expect((await first.machine.migrationDone()).status).toBe("completed");
    await first.machine.quit();
    const { machine } = await keepingMachine({ incoming: "defer", thread: true });
    await machine.migrateIncoming("store:a");
    await machine.cont();
    expect(await machine.ended).toEqual({ reason: "shutdown" });
  });

  it.each([
    ["a URI without a scheme", "nothing", "ERR_CPR_URI", "unknown migration protocol: nothing"],
    ["a scheme that nobody provides", "ftp:there", "ERR_CPR_NO_TRANSPORT", "unknown migration protocol: ftp:there"],
    ["a place that cannot be written", "store:unwritable", "ERR_CPR_FAKE_OPEN", "it cannot be written"],
  ])("refuses %s while the guest runs on", async (_what, uri, code, message) => {
    const { machine, events } = await keepingMachine();
    await expect(machine.migrate(uri)).rejects.toMatchObject({ code, message });
    expect(machine.runState).toBe("running");
    expect(events).toEqual([]);
    // What fails before anything has begun is no migration; a place that cannot be opened is a failed one.
    expect(machine.queryMigrate().status).toBe(uri === "store:unwritable" ? "failed" : "none");
    await machine.migrate("store:a");
    expect((await machine.migrationDone()).status).toBe("completed");
    await machine.quit();
  });

  it("names the known schemes when one is not known", async () => {
    const { machine } = await keepingMachine();
    await expect(machine.migrate("ftp:there")).rejects.toMatchObject({ hint: "Known: store, pipe." });
    await machine.quit();
  });

  it("is refused where QEMU refuses it, in its words", async () => {
    const { machine } = await keepingMachine();
    await machine.migrate("store:a");
    await machine.migrationDone();
    await expect(machine.migrate("store:b")).rejects.toThrow(
      "Can't migrate the vm that was paused due to previous migration",
    );
    await machine.quit();
    const incoming = await keepingMachine({ incoming: "defer" });
    await expect(incoming.machine.migrate("store:b")).rejects.toThrow("Guest is waiting for an incoming migration");
    await incoming.machine.quit();
    const { machine: third } = await keepingMachine();
    await expect(third.migrateIncoming("store:a")).rejects.toThrow("'-incoming' was not specified on the command line");
    third.settings.setCapability("x-colo", true);
    await expect(third.migrate("store:b")).rejects.toMatchObject({ message: "Cannot use COLO with CPR" });
    third.settings.setCapability("x-colo", false);
    third.settings.setCapability("dirty-bitmaps", true);
    await expect(third.migrate("store:b")).rejects.toMatchObject({ code: "ERR_CPR_CAPABILITY_UNSUPPORTED" });
    expect(third.runState).toBe("running");
    await third.quit();
  });

  it("is blocked by a device in the mode that it blocks, and in no other", async () => {
    const { machine } = await keepingMachine({ commandLine: "blocks=keeping" });
    expect(machine.queryMigrate().blockedReasons).toEqual(["the echo cannot be moved"]);
    await expect(machine.migrate("store:a")).rejects.toMatchObject({
      code: "ERR_CPR_BLOCKED",
      message: "the echo cannot be moved",
    });
    machine.settings.setParameter("mode", "normal");
    expect(machine.queryMigrate().blockedReasons).toEqual([]);
    await machine.migrate("store:a");
    expect((await machine.migrationDone()).status).toBe("completed");
    await machine.quit();
  });

  it("is blocked by a device that does not say why, in QEMU's words", async () => {
    const { machine } = await keepingMachine({ commandLine: "blocks=all" });
    for (const mode of ["keeping", "normal"]) {
      await expect(machine.migrate("store:a", { mode })).rejects.toMatchObject({
        code: "ERR_CPR_BLOCKED",
        message: "State blocked by non-migratable device 'echo0'",
        hint: `Device 'echo0' blocks the migration mode ${mode}.`,
      });
    }
    await machine.quit();
  });

  it("is blocked by a plugin in the modes that it names, as long as it says so", async () => {
    const { machine } = await keepingMachine();
    blocks.push({ modes: ["normal"], reason: "VM has local storage" });
    expect(machine.queryMigrate().blockedReasons).toEqual([]);
    machine.settings.setParameter("mode", "normal");
    const reason = `test with ${path} has local storage`;
    expect(machine.queryMigrate().blockedReasons).toEqual([reason]);
    await expect(machine.migrate("store:a")).rejects.toMatchObject({
      code: "ERR_CPR_BLOCKED",
      message: reason,
      hint: "The blocker 'fake' blocks the migration mode normal.",
    });
    blocks.push({ modes: "all", reason: "Record/replay is not supported with migration" });
    machine.settings.setParameter("mode", "keeping");
    expect(machine.queryMigrate().blockedReasons).toEqual(["Record/replay is not supported with migration"]);
    expect((await machine.planMigration("store:a")).refusals).toMatchObject([{ code: "ERR_CPR_BLOCKED" }]);
    blocks.length = 0;
    await machine.migrate("store:a");
    expect((await machine.migrationDone()).status).toBe("completed");
    await machine.quit();
  });

  it("is blocked by a plugin that fails to say whether it blocks", async () => {
    const { machine } = await keepingMachine();
    blocks.push(new Error("no idea"));
    expect(machine.queryMigrate().blockedReasons).toEqual(["The migration blocker 'fake' failed: no idea"]);
    await expect(machine.migrate("store:a")).rejects.toThrow("The migration blocker 'fake' failed: no idea");
    expect(machine.runState).toBe("running");
    await machine.quit();
  });

  it.each([
    ["the disk is full", { writesUntilFailure: 0 }, "No space left on device"],
    ["the end cannot be made durable", { failCommit: true }, "Input/output error"],
  ])("lets the guest run on when %s", async (_what, faults, message) => {
    const { machine, events } = await keepingMachine();
    machine.settings.setCapability("events", true);
    streams.set("a", Uint8Array.of(1, 2, 3));
    Object.assign(transportFaults, faults);
    await machine.migrate("store:a");
    expect(await machine.migrationDone()).toMatchObject({ status: "failed", errorDescription: message });
    expect(machine.runState).toBe("running");
    const seen = names(events);
    expect(seen.slice(-2)).toEqual(["MIGRATION failed", "RESUME"]);
    expect(streams.get("a")).toEqual(Uint8Array.of(1, 2, 3));
    await expect(stat(`${path}.cpr`)).rejects.toMatchObject({ code: "ENOENT" });
    const counted = await instructions(machine);
    await until(async () => (await instructions(machine)) > counted, "going on");
    for (const key of Object.keys(faults)) {
      delete transportFaults[key as keyof typeof transportFaults];
    }
    await machine.migrate("store:a");
    expect((await machine.migrationDone()).status).toBe("completed");
    await machine.quit();
  });

  it.each([false, true])("lets the guest run on when it cannot be stopped (thread: %s)", async (thread) => {
    const { machine, events, output } = await keepingMachine({ thread });
    const runsOn = async (): Promise<void> => {
      const counted = await instructions(machine);
      await until(async () => (await instructions(machine)) > counted, "going on");
    };
    type(machine, "U");
    await until(() => output() === "U", "an echo");
    await machine.migrate("store:a");
    expect(await machine.migrationDone()).toMatchObject({
      status: "failed",
      errorDescription: "the echo does not stop",
    });
    expect(machine.runState).toBe("running");
    await runsOn();
    type(machine, "U");
    await until(() => output() === "UU", "an echo");
    await expect(machine.stop()).rejects.toThrow("the echo does not stop");
    expect(machine.runState).toBe("running");
    await runsOn();
    expect(events).toEqual([]);
    await machine.stop();
    expect(machine.runState).toBe("paused");
    await machine.quit();
  });

  it("leaves the VM paused, and not lost, when it fails and the VM cannot run on", async () => {
    const { machine } = await keepingMachine();
    transportFaults.writesUntilFailure = 0;
    await mkdir(`${path}.cpr`);
    await machine.migrate("store:a");
    expect(await machine.migrationDone()).toMatchObject({
      status: "failed",
      errorDescription: "No space left on device",
      notices: [expect.stringMatching(/^The VM could not be made what it was before: Could not write '.*ram0.cpr': /)],
    });
    expect(machine.runState).toBe("paused");
    await expect(machine.cont()).rejects.toMatchObject({ code: "ERR_CPR_BINDING_WRITE" });
    await rm(`${path}.cpr`, { recursive: true });
    await machine.cont();
    expect(machine.runState).toBe("running");
    await machine.quit();
  });

  it("leaves a paused VM paused when it fails", async () => {
    const { machine, events } = await keepingMachine();
    await machine.stop();
    events.length = 0;
    transportFaults.writesUntilFailure = 0;
    await machine.migrate("store:a");
    expect((await machine.migrationDone()).status).toBe("failed");
    expect(machine.runState).toBe("paused");
    expect(events).toEqual([]);
    await machine.quit();
  });

  it("can be cancelled while it hangs; the guest runs on", async () => {
    const { machine, events } = await keepingMachine();
    machine.settings.setCapability("events", true);
    transportFaults.hangs = true;
    await machine.migrate("store:a");
    await until(() => machine.runState === "finish-migrate", "the stop");
    await until(() => machine.queryMigrate().status === "device", "writing");
    await expect(machine.cont()).rejects.toThrow("Migration is not finalized yet");
    await expect(machine.reset()).rejects.toThrow("Migration is not finalized yet");
    expect(() => machine.settings.setCapability("events", false)).toThrow("There's a migration process in progress");
    await expect(machine.migrate("store:b")).rejects.toThrow("There's a migration process in progress");
    await machine.migrateCancel();
    expect(await machine.migrationDone()).toMatchObject({ status: "cancelled" });
    expect(machine.runState).toBe("running");
    expect(names(events).slice(-3)).toEqual(["MIGRATION cancelling", "RESUME", "MIGRATION cancelled"]);
    await machine.migrateCancel();
    expect(machine.queryMigrate().status).toBe("cancelled");
    await machine.quit();
  });

  it("waits before the states are taken if it is told to, until it is told to go on", async () => {
    const { machine, events } = await keepingMachine();
    machine.settings.setCapabilities(
      ["events", "pause-before-switchover"].map((capability) => ({ capability, state: true })),
    );
    await expect(machine.migrateContinue("pre-switchover")).rejects.toMatchObject({
      code: "ERR_CPR_NOT_EXPECTED_STATE",
      message: "Migration not in expected state: none",
    });
    await machine.migrate("store:a");
    await until(() => machine.queryMigrate().status === "pre-switchover", "waiting");
    expect(machine.runState).toBe("finish-migrate");
    // The states are not taken yet: three keys, the last of which is z, are part of the checkpoint.
    type(machine, "xyz");
    await expect(machine.migrateContinue("active")).rejects.toThrow("Migration not in expected state: pre-switchover");
    await machine.migrateContinue("pre-switchover");
    expect((await machine.migrationDone()).status).toBe("completed");
    expect(names(events)).toEqual([
      "MIGRATION setup",
      "STOP",
      "MIGRATION active",
      "MIGRATION_PASS 1",
      "MIGRATION pre-switchover",
      "MIGRATION device",
      "MIGRATION completed",
    ]);
    expect(Buffer.from(streams.get("a") ?? []).includes(Buffer.from([0, 0, 0, 3, 0, 0, 0, 0x7a]))).toBe(true);
    // As in QEMU: nothing waits, and the state is the one that it is.
    await machine.migrateContinue("completed");
    await machine.quit();
    const second = await keepingMachine({ incoming: "defer" });
    await second.machine.migrateIncoming("store:a");
    expect(second.machine.runState).toBe("running");
    await second.machine.quit();
  });

  it("can be cancelled while it waits for the word to go on", async () => {
    const { machine, events } = await keepingMachine();
    machine.settings.setCapabilities(
      ["events", "pause-before-switchover"].map((capability) => ({ capability, state: true })),
    );
    await machine.migrate("store:a");
    await until(() => machine.queryMigrate().status === "pre-switchover", "waiting");
    await machine.migrateCancel();
    expect(await machine.migrationDone()).toMatchObject({ status: "cancelled" });
    expect(names(events).slice(-3)).toEqual(["MIGRATION cancelling", "RESUME", "MIGRATION cancelled"]);
    expect(machine.runState).toBe("running");
    expect(streams.size).toBe(0);
    await machine.migrate("store:a");
    await until(() => machine.queryMigrate().status === "pre-switchover", "waiting again");
    await machine.migrateContinue("pre-switchover");
    expect((await machine.migrationDone()).status).toBe("completed");
    await machine.quit();
  });

  it("is refused in QEMU's order: what the URI says, what the transport lacks, what the VM is doing", async () => {
    const { machine } = await keepingMachine({ commandLine: "blocks=keeping" });
    const withMapped = { capabilities: ["mapped-ram", "multifd"] };
    const refused = async (uri: string, options: OutgoingOptions, message: string) =>
      expect(machine.migrate(uri, options)).rejects.toThrow(message);
    machine.settings.setParameter("mode", "normal");
    machine.settings.setCapability("pause-before-switchover", true);
    await machine.migrate("store:a");
    await refused("store:a b", withMapped, "a place has no spaces");
    await refused("pipe:b", withMapped, "Migration requires seekable transport (e.g. file)");
    await refused("store:b", { capabilities: ["multifd"] }, "Migration requires multi-channel URIs (e.g. tcp)");
    await refused("store:b", { mode: "keeping" }, "There's a migration process in progress");
    await until(() => machine.queryMigrate().status === "pre-switchover", "waiting");
    await machine.migrateContinue("pre-switchover");
    await machine.migrationDone();
    await refused("store:b", { mode: "keeping" }, "Can't migrate the vm that was paused due to previous migration");
    await machine.cont();
    await refused("store:b", { mode: "keeping", capabilities: ["x-colo"] }, "the echo cannot be moved");
    await refused("store:b", { capabilities: ["x-colo"] }, "Cannot use COLO with CPR");
    await refused("store:b", { mode: "mad" }, "Parameter 'mode' does not accept value 'mad'");
    expect(machine.runState).toBe("running");
    await machine.quit();
  });

  it("can have a mode and capabilities of its own, and refuse to copy RAM", async () => {
    const own = { mode: "keeping", capabilities: ["x-ignore-shared"] };
    const { machine } = await fakeVirtualMachine({ path });
    await machine.migrate("store:a", { ...own, inPlaceOnly: true });
    const { status, mode, ram } = await machine.migrationDone();
    expect([status, mode, ram?.inPlace]).toEqual(["completed", "keeping", mebibyte]);
    expect(machine.settings.capabilities().get("x-ignore-shared")).toBe(false);
    await machine.quit();
    const { machine: second } = await fakeVirtualMachine({ path, incoming: "defer" });
    await expect(second.migrateIncoming("store:a")).rejects.toMatchObject({ code: "ERR_CPR_STREAM_CAPABILITY" });
    await second.migrateIncoming("store:a", own);
    expect(second.runState).toBe("running");
    await second.quit();
    const { machine: third, events } = await fakeVirtualMachine({ type: "memory-backend-memfd" });
    await expect(third.migrate("store:b", { ...own, inPlaceOnly: true })).rejects.toMatchObject({
      code: "ERR_CPR_RAM_VOLATILE",
      message: "Memory region ram0 is volatile",
    });
    expect(events).toEqual([]);
    await third.quit();
  });

  it("saves a VM that has failed as one that has failed", async () => {
    const first = await keepingMachine();
    type(first.machine, "I");
    await until(() => first.machine.runState === "internal-error", "the failure");
    transportFaults.writesUntilFailure = 0;
    await first.machine.migrate("store:a");
    expect((await first.machine.migrationDone()).status).toBe("failed");
    expect(first.machine.runState).toBe("internal-error");
    delete transportFaults.writesUntilFailure;
    await first.machine.migrate("store:a");
    expect((await first.machine.migrationDone()).status).toBe("completed");
    await first.machine.quit();
    const { machine } = await keepingMachine({ incoming: "defer" });
    await machine.migrateIncoming("store:a");
    expect(machine.runState).toBe("internal-error");
    await expect(machine.cont()).rejects.toThrow("Resetting the Virtual Machine is required");
    await machine.reset();
    expect(machine.runState).toBe("prelaunch");
    await machine.cont();
    await until(async () => (await instructions(machine)) > 0, "a new start");
    await machine.quit();
  });

  it("ends with the VM", async () => {
    const { machine } = await keepingMachine();
    transportFaults.hangs = true;
    await machine.migrate("store:a");
    await machine.quit();
    expect(machine.queryMigrate().status).toBe("cancelled");
    expect(streams.size).toBe(0);
  });

  it("can be cancelled while the place is being opened; the guest never stops", async () => {
    const { machine, events } = await keepingMachine();
    machine.settings.setCapability("events", true);
    transportFaults.opensNever = true;
    const begun = machine.migrate("store:a");
    await until(() => machine.queryMigrate().status === "setup", "the beginning");
    await machine.migrateCancel();
    // Once more changes nothing.
    await machine.migrateCancel();
    await expect(begun).rejects.toMatchObject({ code: "ERR_CPR_MIGRATION_CANCELLED" });
    expect(names(events)).toEqual(["MIGRATION setup", "MIGRATION cancelling", "MIGRATION cancelled"]);
    expect(machine.runState).toBe("running");
    await machine.migrateCancel();
    expect(machine.queryMigrate().status).toBe("cancelled");
    delete transportFaults.opensNever;
    await machine.migrate("store:a");
    expect((await machine.migrationDone()).status).toBe("completed");
    await machine.quit();
  });

  it("stays failed when it is cancelled after it has failed, and ends with a VM that quits while it begins", async () => {
    const { machine } = await keepingMachine();
    await expect(machine.migrate("store:unwritable")).rejects.toMatchObject({ code: "ERR_CPR_FAKE_OPEN" });
    await machine.migrateCancel();
    expect(machine.queryMigrate().status).toBe("failed");
    transportFaults.opensNever = true;
    const begun = machine.migrate("store:a");
    await until(() => machine.queryMigrate().status === "setup", "the beginning");
    await machine.quit();
    await expect(begun).rejects.toMatchObject({ code: "ERR_CPR_MIGRATION_CANCELLED" });
  });

  it("can be cancelled when there is none, and stays completed when it is", async () => {
    const { machine } = await keepingMachine();
    await machine.migrateCancel();
    await machine.migrate("store:a");
    await machine.migrationDone();
    await machine.migrateCancel();
    expect(machine.queryMigrate().status).toBe("completed");
    await machine.quit();
  });

  it("says so when RAM that looks shared would not be found again", async () => {
    const { machine } = await keepingMachine({ type: "memory-backend-memfd" });
    await machine.migrate("store:a");
    const { notices, ram } = await machine.migrationDone();
    expect(ram?.inPlace).toBe(0);
    expect(notices).toEqual([
      "RAM 'ram0' (private) is shared but would not be found again, so it is copied into the checkpoint",
    ]);
    await machine.quit();
  });

  it("keeps to max-bandwidth", async () => {
    const { machine } = await fakeVirtualMachine({ size: 8 * mebibyte });
    await machine.stop();
    machine.settings.setParameter("max-bandwidth", "100M");
    expect(machine.settings.parameters().get("max-bandwidth")).toBe(parseMemorySize("100M"));
    await machine.migrate("store:a");
    expect((await machine.migrationDone()).status).toBe("completed");
    await machine.quit();
  });
});

describe("RAM in place and its checkpoint", () => {
  it("are bound by a mark beside the file, which goes when the guest runs on", async () => {
    await saveAndQuit("store:a");
    const mark = await readFile(`${path}.cpr`, "latin1");
    expect(mark).toMatch(/^cpr generation [0-9a-f]{32}\ncpr file size=0 written=\d+\n$/);
    expect(Buffer.from(streams.get("a") as Uint8Array).toString("latin1")).toContain(mark.slice(15, 47));
    const { machine } = await keepingMachine({ incoming: "defer" });
    await machine.migrateIncoming("store:a");
    await expect(stat(`${path}.cpr`)).rejects.toMatchObject({ code: "ENOENT" });
    await machine.quit();
    const again = await keepingMachine({ incoming: "defer" });
    await expect(again.machine.migrateIncoming("store:a")).rejects.toMatchObject({ code: "ERR_CPR_RAM_MOVED_ON" });
    expect(again.machine.runState).toBe("inmigrate");
    await again.machine.quit();
  });

  it("do not take each other's place", async () => {
    const { machine } = await keepingMachine();
    const code = "ERR_CPR_PLACE_IS_RAM";
    await expect(machine.migrate(`store:${path}`)).rejects.toMatchObject({ code, category: "refused" });
    expect((await machine.planMigration(`store:${path}`)).refusals).toMatchObject([{ code }]);
    expect(machine.runState).toBe("running");
    await machine.quit();
  });

  it("are not bound if the file was removed meanwhile: the save fails, and the VM runs on", async () => {
    const { machine } = await keepingMachine();
    await rm(path);
    await machine.migrate("store:a");
    expect(await machine.migrationDone()).toMatchObject({
      status: "failed",
      error: { code: "ERR_CPR_RAM_FILE_LOST", hint: expect.stringContaining("x-ignore-shared") },
    });
    expect(machine.runState).toBe("running");
    expect(streams.has("a")).toBe(false);
    await machine.quit();
  });

  it("are parted by cont after the save, by a newer checkpoint and by a new start", async () => {
    const { machine } = await keepingMachine();
    await machine.migrate("store:a");
    await machine.migrationDone();
    expect(machine.queryMigrate().notices).toBeUndefined();
    await machine.cont();
    expect(machine.runState).toBe("running");
    await expect(stat(`${path}.cpr`)).rejects.toMatchObject({ code: "ENOENT" });
    expect(machine.queryMigrate()).toMatchObject({
      status: "completed",
      notices: [
        "The checkpoint 'store:a' cannot be loaded any more: its RAM was left in place, and the VM has gone on",
      ],
    });
    await machine.migrate("store:b");
    await machine.migrationDone();
    await machine.quit();
    const second = await keepingMachine({ incoming: "defer" });
    await expect(second.machine.migrateIncoming("store:a")).rejects.toMatchObject({ code: "ERR_CPR_RAM_MOVED_ON" });
    await second.machine.quit();
    const third = await keepingMachine();
    await third.machine.quit();
    const fourth = await keepingMachine({ incoming: "defer" });
    await expect(fourth.machine.migrateIncoming("store:b")).rejects.toMatchObject({ code: "ERR_CPR_RAM_MOVED_ON" });
    await fourth.machine.quit();
  });

  it("are parted when the RAM is made anew, though the mark of the old one is still there", async () => {
    await saveAndQuit("store:a");
    keptMemory.clear();
    const { machine } = await keepingMachine({ incoming: "defer" });
    await expect(machine.migrateIncoming("store:a")).rejects.toMatchObject({ code: "ERR_CPR_RAM_GONE" });
    await expect(stat(`${path}.cpr`)).rejects.toMatchObject({ code: "ENOENT" });
    await machine.quit();
  });

  it("stay together when the VM is loaded but does not run", async () => {
    await saveAndQuit("store:a");
    for (let round = 0; round < 2; round++) {
      const { machine } = await keepingMachine({ incoming: "defer" });
      await machine.stop();
      await machine.migrateIncoming("store:a");
      expect(machine.runState).toBe("paused");
      await machine.quit();
    }
  });

  it("are several checkpoints if the VM was saved again without having run", async () => {
    await saveAndQuit("store:a");
    const { machine } = await keepingMachine({ incoming: "defer" });
    await machine.stop();
    await machine.migrateIncoming("store:a");
    const mark = await readFile(`${path}.cpr`, "latin1");
    transportFaults.failCommit = true;
    await machine.migrate("store:b");
    expect((await machine.migrationDone()).status).toBe("failed");
    expect(await readFile(`${path}.cpr`, "latin1")).toBe(mark);
    delete transportFaults.failCommit;
    await machine.migrate("store:b");
    expect((await machine.migrationDone()).status).toBe("completed");
    expect(await readFile(`${path}.cpr`, "latin1")).toMatch(/^(cpr generation [0-9a-f]{32}\n){2}cpr file .*\n$/);
    await machine.quit();
    for (const uri of ["store:a", "store:b"]) {
      const paused = await keepingMachine({ incoming: "defer" });
      await paused.machine.stop();
      await paused.machine.migrateIncoming(uri);
      await paused.machine.quit();
    }
    const last = await keepingMachine({ incoming: "defer" });
    await last.machine.migrateIncoming("store:a");
    await last.machine.quit();
    const late = await keepingMachine({ incoming: "defer" });
    await expect(late.machine.migrateIncoming("store:b")).rejects.toMatchObject({ code: "ERR_CPR_RAM_MOVED_ON" });
    await writeFile(`${path}.cpr`, `${mark}and something else`);
    await expect(late.machine.migrateIncoming("store:a")).rejects.toMatchObject({ code: "ERR_CPR_RAM_MOVED_ON" });
    await late.machine.quit();
  });

  it("are not taken for each other when the RAM here starts empty", async () => {
    await saveAndQuit("store:a");
    const { machine } = await keepingMachine({ incoming: "defer", type: "memory-backend-memfd" });
    await expect(machine.migrateIncoming("store:a")).rejects.toMatchObject({ code: "ERR_CPR_RAM_NOT_IN_PLACE" });
    await machine.quit();
  });

  it("are parted when a copy is loaded into that RAM, even if the load fails or is killed", async () => {
    await saveAndQuit("store:a");
    await saveAndQuit("store:copy", {}, false);
    const { machine } = await fakeVirtualMachine({ path, incoming: "defer" });
    await machine.stop();
    await machine.migrateIncoming("store:copy");
    // As if it were killed: nothing that the end of a VM does is of importance.
    await machine.quit();
    const again = await keepingMachine({ incoming: "defer" });
    await expect(again.machine.migrateIncoming("store:a")).rejects.toMatchObject({ code: "ERR_CPR_RAM_MOVED_ON" });
    await again.machine.quit();
  });

  it("stay together when a VM that was loaded and has not run cannot be saved again", async () => {
    await saveAndQuit("store:a");
    const { machine } = await keepingMachine({ incoming: "defer" });
    await machine.stop();
    await machine.migrateIncoming("store:a");
    transportFaults.failCommit = true;
    await machine.migrate("store:b");
    expect((await machine.migrationDone()).status).toBe("failed");
    await machine.quit();
    const again = await keepingMachine({ incoming: "defer" });
    await again.machine.migrateIncoming("store:a");
    await again.machine.quit();
  });

  it("may be loaded from a copy into RAM that holds something else, which is cleared", async () => {
    await saveAndQuit("store:a", {}, false);
    keptMemory.set(path, new Uint8Array(mebibyte).fill(0xaa));
    const { machine } = await fakeVirtualMachine({ path, incoming: "defer" });
    await machine.stop();
    await machine.migrateIncoming("store:a");
    await machine.quit();
    const ram = keptMemory.get(path) as Uint8Array;
    expect(ram.indexOf(0xaa)).toBe(-1);
    expect(Buffer.from(ram.subarray(0x1000, 0x1005)).toString()).toBe("boot ");
  });
});
