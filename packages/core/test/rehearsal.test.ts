import { describe, expect, it, onTestFinished } from "vitest";
import { readBack } from "./fakes/checkpoints.ts";
import { type FakeOptions, fakeVirtualMachine, instructions, mebibyte, until } from "./fakes/fake-machine.ts";
import { rehearsals, streams } from "./fakes/fake-plugin.ts";

async function started(options: FakeOptions = {}) {
  rehearsals.length = 0;
  const fake = await fakeVirtualMachine(options);
  onTestFinished(() => fake.machine.quit());
  return fake;
}

const rehearsed = () => until(() => rehearsals.length > 0, "the rehearsal");

describe("the rehearsal of a save", () => {
  it("is a whole checkpoint of the machine as it was built, without RAM", async () => {
    const { machine } = await started({ size: mebibyte });
    await rehearsed();
    const { sections, facts } = await readBack(rehearsals[0] as Uint8Array);
    expect(facts.ram).toEqual([]);
    await machine.stop();
    await machine.migrate("store:real");
    await machine.migrationDone();
    const real = await readBack(streams.get("real") as Uint8Array);
    expect(sections.map(({ id }) => id)).toEqual(real.sections.map(({ id }) => id));
  });

  it("is not noticed by the VM", async () => {
    const { machine, events } = await started();
    machine.settings.setCapability("events", true);
    await rehearsed();
    expect(machine.runState).toBe("running");
    expect(machine.queryMigrate().status).toBe("none");
    expect(events.filter(({ event }) => event !== "RESUME")).toEqual([]);
    const before = await instructions(machine);
    await until(async () => (await instructions(machine)) > before, "counting");
  });

  it("waits until the VM runs, and does not need the settings that the user has made", async () => {
    const { machine } = await started({ configuration: { startStopped: true } });
    machine.settings.setCapability("pause-before-switchover", true);
    await machine.reset();
    expect(rehearsals).toEqual([]);
    await machine.cont();
    await rehearsed();
  });
});
