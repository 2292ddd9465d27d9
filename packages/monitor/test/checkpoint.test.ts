import { CprError, migrationErrors, streamErrors } from "@cpr/core";
import { describe, expect, it } from "vitest";
import { qmpFixture, type RawClient } from "./qmp/qmp-conversation.ts";

async function conversation() {
  const { client, machine } = await qmpFixture();
  const one: RawClient = client();
  await one.negotiate();
  const ask = (execute: string, values: object) => one.ask(JSON.stringify({ execute, arguments: values }));
  return { machine, ask };
}

const save = { filename: "/tmp/vm.state", mode: "reboot" };

describe("cpr-save", () => {
  it("saves in mode cpr-reboot with all RAM in place, whatever the settings are, and answers at the end", async () => {
    const { machine, ask } = await conversation();
    expect(await ask("cpr-save", save)).toEqual({ return: {} });
    expect(machine.calls).toEqual([
      ["migrate", "file:/tmp/vm.state", { mode: "cpr-reboot", capabilities: ["x-ignore-shared"], inPlaceOnly: true }],
    ]);
  });

  it("refuses volatile RAM, COLO and modes that there are not", async () => {
    const { machine, ask } = await conversation();
    expect(await ask("cpr-save", { ...save, mode: "restart" })).toMatchObject({
      error: { desc: "Parameter 'mode' does not accept value 'restart'" },
    });
    machine.settings.setCapability("x-colo", true);
    expect(await ask("cpr-save", save)).toMatchObject({ error: { desc: "cpr-save does not support x-colo" } });
    machine.settings.setCapability("x-colo", false);
    machine.failure = migrationErrors.ERR_CPR_RAM_VOLATILE({ id: "ram0", location: "anonymous", mode: "cpr-reboot" });
    expect(await ask("cpr-save", save)).toMatchObject({ error: { desc: "Memory region ram0 is volatile" } });
  });

  it("fails with what went wrong after it had begun", async () => {
    const { machine, ask } = await conversation();
    const error = new CprError("ERR_CPR_FULL", "host", "No space left on device");
    machine.migrationDone = async () => ({
      ...{ status: "failed", mode: "cpr-reboot", errorDescription: error.message, error, blockedReasons: [] },
    });
    expect(await ask("cpr-save", save)).toMatchObject({
      error: { desc: "No space left on device", cpr: { code: "ERR_CPR_FULL", category: "host" } },
    });
    machine.migrationDone = async () => ({ status: "cancelled", mode: "cpr-reboot", blockedReasons: [] });
    expect(await ask("cpr-save", save)).toMatchObject({
      error: { desc: "Error while saving VM state: migration cancelled" },
    });
  });
});

describe("cpr-load", () => {
  it("loads in mode cpr-reboot", async () => {
    const { machine, ask } = await conversation();
    machine.runState = "inmigrate";
    expect(await ask("cpr-load", { filename: "/tmp/vm.state" })).toEqual({ return: {} });
    expect(machine.calls).toEqual([
      ["migrateIncoming", "file:/tmp/vm.state", { mode: "cpr-reboot", capabilities: ["x-ignore-shared"] }],
    ]);
  });

  it("refuses a VM that runs, and a file that is no checkpoint", async () => {
    const { machine, ask } = await conversation();
    expect(await ask("cpr-load", { filename: "a" })).toMatchObject({
      error: { desc: "cpr-load called for a running VM" },
    });
    machine.runState = "inmigrate";
    machine.failure = streamErrors.ERR_CPR_STREAM_MAGIC({ magic: 1, expected: 2 });
    expect(await ask("cpr-load", { filename: "a" })).toMatchObject({ error: { desc: "a is not a vmstate file" } });
    machine.failure = migrationErrors.ERR_CPR_NOT_INCOMING({});
    expect(await ask("cpr-load", { filename: "a" })).toMatchObject({
      error: { desc: "'-incoming' was not specified on the command line" },
    });
  });
});
