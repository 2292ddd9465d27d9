import { join } from "node:path";
import { CprError, type MigrationInformation } from "@cpr/core";
import { FakeGuestAgent, FakeVirtualMachine } from "@cpr/testkit/fakes";
import { describe, expect, it, onTestFinished } from "vitest";
import { beginCommand } from "./command.ts";
import { scratchFolder } from "./scratch.ts";
import { serveAt } from "./served-machine.ts";

/** A VM whose guest can sleep. */
class SleepyMachine extends FakeVirtualMachine {
  /** What a save fails with. */
  refusal: CprError | undefined;

  constructor() {
    super();
    this.settings.setCapabilities(["mapped-ram", "multifd"].map((capability) => ({ capability, state: false })));
    this.settings.setParameters({ "direct-io": false });
  }

  override async wakeUp(): Promise<void> {
    await super.wakeUp();
    this.runState = "running";
  }

  override async migrate(uri: string): Promise<void> {
    const asleep = this.runState;
    if (this.refusal !== undefined) throw this.refusal;
    await super.migrate(uri);
    this.calls.push(["saved as", asleep]);
  }

  override async migrateIncoming(uri: string): Promise<void> {
    await super.migrateIncoming(uri);
    this.runState = "suspended";
  }

  override queryMigrate(): MigrationInformation {
    const information = super.queryMigrate();
    return this.runState === "suspended" ? { ...information, status: "completed" } : information;
  }

  /** The operations that count here. */
  get told(): readonly unknown[] {
    return this.calls.map(([name]) => name).filter((name) => ["migrate", "wakeUp", "quit"].includes(String(name)));
  }
}

async function sleepyGuest() {
  const folder = scratchFolder();
  const machine = new SleepyMachine();
  await serveAt(join(folder, "vm.qmp"), machine);
  const agent = await FakeGuestAgent.listen(join(folder, "qga.sock"));
  onTestFinished(() => agent.close());
  agent.onSuspend = () => {
    machine.runState = "suspended";
  };
  const run = (...words: string[]) => beginCommand(folder, words);
  const save = (...words: string[]) => run("save", "vm.qmp", "vm.state", "--suspend-guest", ...words);
  return { folder, machine, agent, run, save };
}

describe("cpr save --suspend-guest", () => {
  it("has the agent suspend the guest, which sleeps in the checkpoint", async () => {
    const { machine, save, agent } = await sleepyGuest();
    const { status, stdout, stderr } = await save().ended;
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toContain("The guest suspends itself first, told by its agent at 'qga.sock'");
    expect(agent.commands.map(({ execute }) => execute)).toEqual(["guest-sync-delimited", "guest-suspend-ram"]);
    expect(machine.calls).toContainEqual(["saved as", "suspended"]);
    expect(machine.told).toEqual(["migrate"]);
  });

  it("needs no agent for a guest that sleeps already, and none for a dry run", async () => {
    const { machine, save } = await sleepyGuest();
    expect((await save("--dry-run", "--agent", "nowhere").ended).status).toBe(0);
    machine.runState = "suspended";
    expect((await save("--agent", "nowhere").ended).status).toBe(0);
    expect(machine.calls).toContainEqual(["saved as", "suspended"]);
  });

  it.each([
    ["there is no agent's socket", "Failed to connect to the guest agent at 'nowhere'", 3, ["--agent", "nowhere"]],
    ["the agent does not answer", "does not answer", 7, ["--suspend-timeout", "1"]],
    ["the guest cannot", "The guest cannot suspend to RAM: the requested suspend mode is not supp", 7, []],
    ["the agent fails", "The guest agent refused guest-suspend-ram: pm-suspend failed", 7, []],
    ["the guest does not do it in time", "The guest did not suspend itself within 1 s", 7, ["--suspend-timeout", "1"]],
    ["the VM is paused", "The guest cannot suspend itself: the VM is paused", 7, []],
    ["the time is none", "Invalid value '0' for --suspend-timeout", 2, ["--suspend-timeout", "0"]],
  ] as const)("leaves the guest awake when %s", async (what, message, expected, words) => {
    const { machine, save, agent } = await sleepyGuest();
    agent.silent = what.includes("does not answer");
    if (what === "the guest cannot") {
      agent.refusal = ["GenericError", "the requested suspend mode is not supported by the guest"];
    }
    if (what === "the agent fails") agent.refusal = ["GenericError", "pm-suspend failed"];
    if (what.includes("in time")) agent.onSuspend = () => undefined;
    if (what === "the VM is paused") machine.runState = "paused";
    const before = new Map(machine.settings.parameters());
    const { status, stderr } = await save(...words).ended;
    expect(stderr).toContain(message);
    expect(status).toBe(expected);
    expect(machine.told).toEqual([]);
    expect(machine.settings.parameters()).toEqual(before);
  });

  it("wakes the guest when it cannot be saved", async () => {
    const { machine, save } = await sleepyGuest();
    machine.refusal = new CprError("ERR_CPR_TEST", "host", "there is no place for it");
    const { status, stderr } = await save().ended;
    expect([status, stderr]).toEqual([4, expect.stringContaining("there is no place for it")]);
    expect(machine.told).toEqual(["wakeUp"]);
    expect(machine.runState).toBe("running");
  });

  it("given up with Ctrl-C while it waits leaves the guest awake", async () => {
    const { machine, save, agent } = await sleepyGuest();
    const asked = new Promise<void>((resolve) => {
      agent.onSuspend = resolve;
    });
    const { child, ended } = save();
    await asked;
    child.kill("SIGINT");
    expect(await ended).toMatchObject({ status: 7, stderr: expect.stringContaining("The migration was cancelled") });
    expect(machine.told).toEqual([]);
  });
});

describe("cpr load of a suspended guest", () => {
  it("says how to wake it, or does so", async () => {
    const { machine, run } = await sleepyGuest();
    machine.runState = "inmigrate";
    const asleep = await run("load", "vm.qmp", "file:vm.state").ended;
    expect(asleep.stdout).toMatch(/the VM is suspended\.\n.*system_wakeup wakes the guest/);
    expect(machine.told).toEqual([]);
    const awake = await run("load", "vm.qmp", "file:vm.state", "--wakeup").ended;
    expect(awake.stdout).toMatch(/the VM is running\.\n$/);
    expect(machine.told).toEqual(["wakeUp"]);
  });
});
