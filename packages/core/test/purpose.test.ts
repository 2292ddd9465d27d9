import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { hostBootId, programVersion } from "../src/index.ts";
import { readBack } from "./fakes/checkpoints.ts";
import { type FakeOptions, fakeVirtualMachine } from "./fakes/fake-machine.ts";
import { keptMemory, streams } from "./fakes/fake-plugin.ts";

const earlier = "11111111-2222-3333-4444-555555555555";
let folder = "";
/** RAM that outlives the process, and RAM that outlives the host's kernel too. */
let fleeting = "";
let persistent = "";

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cpr-core-"));
  fleeting = join(folder, "ram0");
  persistent = join(folder, "persistent0");
  await Promise.all([writeFile(fleeting, ""), writeFile(persistent, "")]);
});

afterEach(async () => {
  vi.unstubAllEnvs();
  streams.clear();
  keptMemory.clear();
  await rm(folder, { recursive: true });
});

async function machineFor(purpose: string, options: FakeOptions) {
  const { machine } = await fakeVirtualMachine(options);
  machine.settings.setParameters({ mode: "keeping", "x-checkpoint-for": purpose });
  machine.settings.setCapability("x-ignore-shared", true);
  return machine;
}

async function save(purpose: string, options: FakeOptions): Promise<void> {
  const machine = await machineFor(purpose, options);
  await machine.migrate("store:a");
  expect(await machine.migrationDone()).toMatchObject({ status: "completed" });
  await machine.quit();
}

describe("a checkpoint for a reboot", () => {
  it("is refused while the guest runs if RAM in place would be lost, and the block is named", async () => {
    const machine = await machineFor("reboot", { path: fleeting });
    const refusal = {
      code: "ERR_CPR_RAM_LOST_AT_REBOOT",
      message: `RAM 'ram0' (${fleeting}) would stay in place, and would be lost when the host is rebooted`,
      hint: expect.stringMatching(/dax0.*--copy-ram/),
    };
    const plan = await machine.planMigration("store:a");
    expect(plan).toMatchObject({ purpose: "reboot", refusals: [refusal], ram: [{ survivesReboot: false }] });
    expect(plan.ram[0]?.reason).toMatch(/it outlives this process, but not the host's kernel$/);
    await expect(machine.migrate("store:a")).rejects.toMatchObject({ ...refusal, category: "refused" });
    expect(machine.runState).toBe("running");
    expect(streams.has("a")).toBe(false);
    // What is copied is in the checkpoint.
    machine.settings.setCapability("x-ignore-shared", false);
    expect((await machine.planMigration("store:a")).refusals).toEqual([]);
    machine.settings.setCapability("x-ignore-shared", true);
    machine.settings.setParameter("x-checkpoint-for", "restart");
    await machine.migrate("store:a");
    expect((await machine.migrationDone()).status).toBe("completed");
    await machine.quit();
  });

  it.each(["memory-backend-ram", "memory-backend-memfd"])("copies %s, as one for a restart does", async (type) => {
    await save("reboot", { type });
  });

  it("is refused if its place would be lost", async () => {
    const machine = await machineFor("reboot", { path: persistent });
    await expect(machine.migrate("store:memory-of-the-kernel")).rejects.toMatchObject({
      code: "ERR_CPR_PLACE_LOST_AT_REBOOT",
      message: expect.stringContaining("'store:memory-of-the-kernel'"),
    });
    expect(machine.runState).toBe("running");
    machine.settings.setParameter("x-checkpoint-for", "restart");
    const { refusals, survivesReboot } = await machine.planMigration("store:memory-of-the-kernel");
    expect({ refusals, survivesReboot }).toEqual({ refusals: [], survivesReboot: false });
    await machine.quit();
  });

  it("is refused if the mark of a device would be lost", async () => {
    const device = join(folder, "persistent1");
    await symlink("/dev/null", device);
    vi.stubEnv("CPR_STATE_DIRECTORY", "/dev/shm/not/there/yet");
    const machine = await machineFor("reboot", { path: device });
    await expect(machine.migrate("store:a")).rejects.toMatchObject({
      code: "ERR_CPR_MARK_LOST_AT_REBOOT",
      message: expect.stringMatching(/'\/dev\/shm\/not\/there\/yet\/[^/]*persistent1\.cpr'/),
    });
    await machine.quit();
  });

  it("says what it was made for, on which boot, and by which version", async () => {
    await save("reboot", { path: persistent });
    const { facts } = await readBack(streams.get("a") as Uint8Array);
    expect(facts.origin).toEqual({
      purpose: "reboot",
      bootId: hostBootId(),
      writer: { program: "cpr", version: programVersion() },
    });
  });

  it("is asked for by a word, in any way in which parameters are set", async () => {
    const { machine } = await fakeVirtualMachine();
    expect(() => machine.settings.setParameter("x-checkpoint-for", "ever")).toThrow(
      "Parameter 'x-checkpoint-for' does not accept value 'ever'",
    );
    expect(machine.settings.parameters().get("x-checkpoint-for")).toBe("restart");
    await machine.quit();
  });
});

describe("loading after the host was rebooted", () => {
  const rebooted = /^The host was rebooted since the checkpoint was written, which was made for a restart; or this is/;

  it("explains that RAM is gone which was made anew", async () => {
    await save("restart", { path: fleeting, bootId: earlier });
    keptMemory.clear();
    const machine = await machineFor("restart", { path: fleeting, incoming: "defer" });
    await expect(machine.migrateIncoming("store:a")).rejects.toMatchObject({
      code: "ERR_CPR_RAM_GONE",
      message: `The checkpoint left memory object 'ram0' in place, but '${fleeting}' was not there: it was made just now and is empty. The host was rebooted since the checkpoint was written (for a restart), and RAM there does not outlive that`,
      hint: expect.stringContaining("--for reboot"),
    });
    expect(machine.queryMigrate().notices).toEqual([expect.stringMatching(rebooted)]);
    await machine.quit();
  });

  it("explains that RAM is gone whose file somebody else has made", async () => {
    await save("restart", { path: fleeting, bootId: earlier });
    await rm(`${fleeting}.cpr`);
    const machine = await machineFor("restart", { path: fleeting, incoming: "defer" });
    await expect(machine.migrateIncoming("store:a")).rejects.toMatchObject({
      code: "ERR_CPR_RAM_GONE",
      message: expect.stringContaining(`what is in '${fleeting}' now is not that RAM. The host was rebooted since`),
    });
    await machine.quit();
  });

  it("points to what may not be mounted where RAM should have outlived that", async () => {
    await save("reboot", { path: persistent, bootId: earlier });
    const options = { path: persistent, incoming: "defer" };
    await rm(`${persistent}.cpr`);
    const unmarked = await machineFor("restart", options);
    await expect(unmarked.migrateIncoming("store:a")).rejects.toMatchObject({
      code: "ERR_CPR_RAM_MOVED_ON",
      hint: expect.stringMatching(/rebooted since.*mounted.*persistent0\.cpr'/),
    });
    await unmarked.quit();
    keptMemory.clear();
    const empty = await machineFor("restart", options);
    await expect(empty.migrateIncoming("store:a")).rejects.toMatchObject({
      code: "ERR_CPR_RAM_GONE",
      message: expect.stringMatching(/\(for a reboot\)$/),
      hint: expect.stringContaining("mounted"),
    });
    await empty.quit();
  });

  it("takes RAM whose mark is there, and tells of the reboot", async () => {
    await save("restart", { path: fleeting, bootId: earlier });
    const machine = await machineFor("restart", { path: fleeting, incoming: "defer" });
    await machine.migrateIncoming("store:a");
    expect(machine.runState).toBe("running");
    expect(machine.queryMigrate().notices).toEqual([expect.stringMatching(rebooted)]);
    await machine.quit();
  });

  it("is not what happens where the boot is the same, or a host does not tell it", async () => {
    for (const bootId of [hostBootId(), "00000000-0000-0000-0000-000000000000"]) {
      await save("restart", { path: fleeting, bootId });
      const machine = await machineFor("restart", { path: fleeting, incoming: "defer" });
      await machine.migrateIncoming("store:a");
      expect(machine.queryMigrate().notices).toBeUndefined();
      await machine.quit();
    }
  });
});
