import { afterEach, describe, expect, it } from "vitest";
import { type FakeOptions, fakeVirtualMachine, instructions, mebibyte, until } from "./fakes/fake-machine.ts";
import { keptMemory, streams } from "./fakes/fake-plugin.ts";

afterEach(() => {
  streams.clear();
  keptMemory.clear();
});

async function machineWith(options: FakeOptions, ...capabilities: string[]) {
  const { machine, events } = await fakeVirtualMachine(options);
  machine.settings.setParameter("mode", "keeping");
  machine.settings.setCapabilities(capabilities.map((capability) => ({ capability, state: true })));
  return { machine, events };
}

describe("a forecast of a migration", () => {
  it("tells what would happen, while the guest runs on", async () => {
    const { machine, events } = await machineWith({ path: "/ram0" }, "x-ignore-shared");
    const plan = await machine.planMigration("store:a");
    expect(plan).toEqual({
      uri: "store:a",
      mode: "keeping",
      purpose: "restart",
      runState: "running",
      capabilities: ["x-ignore-shared"],
      transport: { scheme: "store", supports: expect.objectContaining({ stores: true, seekable: true }) },
      refusals: [],
      blockedReasons: [],
      ram: [
        {
          id: "ram0",
          size: mebibyte,
          location: "/ram0",
          survivesReboot: false,
          inPlace: true,
          reason:
            "RAM 'ram0' (/ram0) is shared and can be found again, so it stays in place; it outlives this process, but not the host's kernel",
          looksShared: false,
          copied: 0,
        },
      ],
      copied: 0,
    });
    expect((await machine.planMigration("store:small")).free).toBe(1000);
    const counted = await instructions(machine);
    await until(async () => (await instructions(machine)) > counted, "going on");
    expect(events).toEqual([]);
    expect(streams.size).toBe(0);
    expect(machine.queryMigrate().status).toBe("none");
    await machine.quit();
  });

  it.each([
    ["the capability is off", { path: "/ram0" }, [], "is copied into the checkpoint, because", false],
    ["it is private", {}, ["x-ignore-shared"], "is private memory of this process", false],
    ["it would not be found again", { type: "memory-backend-memfd" }, ["x-ignore-shared"], "is shared but would", true],
  ] as const)("tells that RAM is copied because %s", async (_why, options, capabilities, reason, looksShared) => {
    const { machine } = await machineWith(options, ...capabilities);
    const plan = await machine.planMigration("store:a");
    expect(plan.ram).toMatchObject([{ inPlace: false, looksShared, copied: mebibyte }]);
    expect(plan.ram[0]?.reason).toContain(reason);
    expect(plan.copied).toBe(mebibyte);
    // The same words when it is done.
    await machine.migrate("store:a");
    const { notices } = await machine.migrationDone();
    expect(notices).toEqual(looksShared ? [plan.ram[0]?.reason] : undefined);
    await machine.quit();
  });

  it("tells every refusal, the one first that migrate would tell", async () => {
    const { machine } = await machineWith({ commandLine: "blocks=keeping" }, "x-colo", "dirty-bitmaps");
    const plan = await machine.planMigration("store:a");
    expect(plan.refusals).toMatchObject([
      { code: "ERR_CPR_BLOCKED", message: "the echo cannot be moved", hint: expect.any(String) },
      { code: "ERR_CPR_FAKE_COLO" },
      { code: "ERR_CPR_CAPABILITY_UNSUPPORTED" },
      { code: "ERR_CPR_CAPABILITY_UNSUPPORTED" },
    ]);
    expect(plan.blockedReasons).toEqual(["the echo cannot be moved"]);
    await expect(machine.migrate("store:a")).rejects.toMatchObject({ code: plan.refusals[0]?.code });
    for (const [uri, code] of [
      ["nothing", "ERR_CPR_URI"],
      ["ftp:there", "ERR_CPR_NO_TRANSPORT"],
    ] as const) {
      const other = await machine.planMigration(uri);
      expect(other.transport).toBeUndefined();
      expect(other.refusals).toMatchObject([{ code }]);
    }
    const unwritable = await machine.planMigration("store:unwritable");
    expect(unwritable.refusals.at(-1)).toEqual({
      code: "ERR_CPR_FAKE_OPEN",
      message: "it cannot be written",
      category: "input",
    });
    const malformed = await machine.planMigration("store:a place");
    expect(malformed.refusals.map(({ code }) => code).slice(0, 2)).toEqual(["ERR_CPR_FAKE_URI", "ERR_CPR_BLOCKED"]);
    await machine.quit();
  });

  it("is that of a migration that is under way or over, too", async () => {
    const { machine } = await machineWith({}, "pause-before-switchover");
    await machine.migrate("store:a");
    await until(() => machine.queryMigrate().status === "pre-switchover", "waiting");
    expect((await machine.planMigration("store:b")).refusals[0]?.code).toBe("ERR_CPR_MIGRATION_ACTIVE");
    await machine.migrateContinue("pre-switchover");
    await machine.migrationDone();
    expect((await machine.planMigration("store:b")).refusals[0]?.code).toBe("ERR_CPR_MIGRATE_IN_POSTMIGRATE");
    await machine.quit();
  });
});
