import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isCprError } from "../src/index.ts";
import { factsFormat } from "../src/stream/description-section.ts";
import { encodeTrailer, trailerLength } from "../src/stream/trailer.ts";
import { type FakeOptions, fakeVirtualMachine, instructions, mebibyte, type, until } from "./fakes/fake-machine.ts";
import { keptMemory, streams, transportFaults } from "./fakes/fake-plugin.ts";
import { asFormat1, Chance, mutate } from "./fakes/mutations.ts";

let folder = "";
let path = "";

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cpr-core-"));
  path = join(folder, "ram0");
  await writeFile(path, "");
});

afterEach(async () => {
  for (const key of Object.keys(transportFaults)) {
    delete transportFaults[key as keyof typeof transportFaults];
  }
  streams.clear();
  keptMemory.clear();
  await rm(folder, { recursive: true });
});

/** Saves a VM to `store:a` and quits; returns how far it had counted. */
async function save(options: FakeOptions = {}, capabilities: readonly string[] = [], keys = "xyz"): Promise<number> {
  const { machine, output } = await fakeVirtualMachine(options);
  machine.settings.setParameter("mode", "keeping");
  for (const name of capabilities) {
    machine.settings.setCapability(name, true);
  }
  await until(async () => (await instructions(machine)) > 20, "counting");
  type(machine, keys);
  await until(() => output() === keys, "an echo");
  await machine.migrate("store:a");
  expect(await machine.migrationDone()).toMatchObject({ status: "completed" });
  const counted = await instructions(machine);
  await machine.quit();
  return counted;
}

/**
 * Replaces the first occurrence of some bytes by as many others, and makes the checksum right again. The checkpoint is
 * then one of format 1, whose sections have no checksums of their own.
 */
function forge(from: string, to: string): void {
  const stream = Buffer.from(streams.get("a") as Uint8Array);
  const at = stream.indexOf(from, 0, "latin1");
  expect(at, from).toBeGreaterThanOrEqual(0);
  expect(to.length).toBe(from.length);
  stream.write(to, at, "latin1");
  stream.write('"format":1', stream.indexOf(`"format":${factsFormat}`), "latin1");
  const body = stream.subarray(0, stream.length - trailerLength);
  const descriptionLength = Number(/description=(\d+)/.exec(stream.subarray(body.length).toString("latin1"))?.[1]);
  const trailer = encodeTrailer({ checksum: crc32(body), length: body.length, descriptionLength });
  streams.set("a", Buffer.concat([body, trailer]));
}

const waiting = (options: FakeOptions = {}) => fakeVirtualMachine({ incoming: "defer", ...options });

describe("a VM that is told on its command line what to load, and how", () => {
  const migration = {
    modes: ["keeping"],
    properties: [
      { name: "mode", value: "keeping" },
      { name: "x-ignore-shared", value: "on" },
    ],
  };

  it("loads at once, in the mode and with the capabilities that were given", async () => {
    await save({ path }, ["x-ignore-shared"]);
    await expect(fakeVirtualMachine({ path, incoming: "store:a" })).rejects.toMatchObject({
      code: "ERR_CPR_STREAM_CAPABILITY",
    });
    const { machine } = await fakeVirtualMachine({ path, incoming: "store:a", configuration: { migration } });
    expect(machine.runState).toBe("running");
    expect(machine.queryMigrate()).toMatchObject({ status: "completed", mode: "keeping" });
    await machine.quit();
  });

  it("does not start if a setting cannot be", async () => {
    const properties = [{ name: "xbzrle", value: "on" }];
    await expect(fakeVirtualMachine({ configuration: { migration: { modes: [], properties } } })).rejects.toMatchObject(
      { code: "ERR_CPR_CAPABILITY_UNSUPPORTED" },
    );
  });
});

describe("a VM that was saved when it had ended", () => {
  it.each([
    ["shutdown", "rejects"],
    ["guest-panicked", "resolves"],
  ] as const)("is %s again; cont %s, and a reset makes it new", async (runState, outcome) => {
    await save();
    const size = (name: string): string => `\0\0\0${String.fromCharCode(name.length + 1)}${name}`;
    forge(size("running").padEnd(20, "\0"), size(runState).padEnd(20, "\0"));
    const { machine } = await waiting();
    await machine.migrateIncoming("store:a");
    expect(machine.runState).toBe(runState);
    await (outcome === "rejects"
      ? expect(machine.cont()).rejects.toThrow("Resetting the Virtual Machine is required")
      : machine.cont());
    await machine.stop();
    await machine.reset();
    expect(machine.runState).toBe("prelaunch");
    await machine.quit();
  });
});

describe("a load that fails", () => {
  it.each(["store:a", "pipe:a"])("leaves the VM waiting, to be loaded again, from %s", async (uri) => {
    const counted = await save();
    const whole = streams.get("a") as Uint8Array;
    const { machine, events } = await waiting();
    machine.settings.setCapability("events", true);
    const damaged = whole.slice();
    damaged[5000] = (damaged[5000] as number) ^ 1;
    streams.set("a", damaged);
    await expect(machine.migrateIncoming(uri)).rejects.toMatchObject({ code: "ERR_CPR_STREAM_DAMAGED" });
    expect(machine.runState).toBe("inmigrate");
    expect(machine.queryMigrate()).toMatchObject({
      status: "failed",
      errorDescription:
        "The migration stream is damaged: RAM block 'ram0' is not what was written, in the 1048576 bytes at offset 0x0",
    });
    streams.set("a", whole.subarray(0, 9000));
    await expect(machine.migrateIncoming(uri)).rejects.toMatchObject({ code: "ERR_CPR_STREAM_TRUNCATED" });
    await expect(machine.migrateIncoming("store:nowhere")).rejects.toMatchObject({ code: "ERR_CPR_FAKE_OPEN" });
    await expect(machine.migrateIncoming("ftp:nowhere")).rejects.toMatchObject({ code: "ERR_CPR_NO_TRANSPORT" });
    expect(await instructions(machine)).toBe(0);
    streams.set("a", whole);
    events.length = 0;
    await machine.migrateIncoming(uri);
    expect(machine.runState).toBe("running");
    expect(events).toEqual([
      { event: "MIGRATION", status: "setup" },
      { event: "MIGRATION", status: "active" },
      { event: "RESUME" },
      { event: "MIGRATION", status: "completed" },
    ]);
    await until(async () => (await instructions(machine)) > counted, "going on");
    await machine.quit();
  });

  it("ends the VM if it is told to, and tells why", async () => {
    const { machine, events } = await waiting();
    machine.settings.setCapability("events", true);
    await expect(machine.migrateIncoming("store:nowhere", { exitOnError: true })).rejects.toMatchObject({
      code: "ERR_CPR_FAKE_OPEN",
    });
    expect(await machine.ended).toMatchObject({ reason: "not-loaded", error: { code: "ERR_CPR_FAKE_OPEN" } });
    expect(events.at(-1)).toEqual({ event: "MIGRATION", status: "failed" });
    await expect(machine.cont()).rejects.toMatchObject({ code: "ERR_CPR_ENDED" });
  });

  it("touches neither RAM nor devices, wherever the damage is", async () => {
    await save();
    const whole = streams.get("a") as Uint8Array;
    const { machine } = await waiting({ path });
    keptMemory.set(path, new Uint8Array(mebibyte));
    for (let position = 0; position < whole.length; position += 211) {
      const damaged = whole.slice();
      damaged[position] = (damaged[position] as number) ^ (1 << (position % 8));
      streams.set("a", damaged);
      await expect(machine.migrateIncoming("store:a")).rejects.toMatchObject({ category: "checkpoint" });
      expect(machine.runState).toBe("inmigrate");
    }
    for (let length = 0; length < whole.length; length += 509) {
      streams.set("a", whole.subarray(0, length));
      await expect(machine.migrateIncoming("store:a")).rejects.toMatchObject({ category: "checkpoint" });
    }
    expect(await instructions(machine)).toBe(0);
    await machine.quit();
    expect((keptMemory.get(path) as Uint8Array).every((byte) => byte === 0)).toBe(true);
  });

  it.each([
    ["touches neither RAM nor devices", "store:a", 0xaa],
    ["leaves empty RAM, and devices as they were, if it can be read only once", "pipe:a", 0],
  ])("%s, whatever a forger has made of the stream", async (_what, uri, left) => {
    keptMemory.set(path, new Uint8Array(mebibyte).fill(0x77, 8192, 20_000));
    await save({ path });
    const whole = { bytes: streams.get("a") as Uint8Array };
    const older = { bytes: asFormat1(whole) };
    let refused = 0;
    for (let seed = 0; seed < 600; ) {
      keptMemory.set(path, new Uint8Array(mebibyte).fill(0xaa));
      const { machine } = await waiting({ path });
      let loaded = false;
      for (; seed < 600 && !loaded; seed++) {
        streams.set("a", mutate(seed % 2 === 0 ? whole : older, new Chance(seed)));
        const failure: unknown = await machine.migrateIncoming(uri).catch((error: unknown) => error);
        loaded = failure === undefined;
        if (!loaded) {
          refused += 1;
          expect(isCprError(failure), `seed ${seed}: ${String(failure)}`).toBe(true);
          expect(machine.runState).toBe("inmigrate");
          expect(await instructions(machine)).toBe(0);
        }
      }
      await machine.quit();
      const ram = keptMemory.get(path) as Uint8Array;
      expect(loaded ? ram.includes(0x77) : ram.every((byte) => byte === left), `before seed ${seed}`).toBe(true);
    }
    expect(refused).toBeGreaterThan(400);
  });

  it("clears RAM that it has written to when the stream can be read only once", async () => {
    await save();
    const damaged = (streams.get("a") as Uint8Array).slice();
    damaged[damaged.length - 300] = (damaged[damaged.length - 300] as number) ^ 1;
    streams.set("a", damaged);
    keptMemory.set(path, new Uint8Array(mebibyte).fill(0xaa));
    const { machine } = await waiting({ path });
    await expect(machine.migrateIncoming("pipe:a")).rejects.toMatchObject({ code: "ERR_CPR_STREAM_DAMAGED" });
    await machine.quit();
    expect((keptMemory.get(path) as Uint8Array).every((byte) => byte === 0)).toBe(true);
  });

  it("tells that the command at the other end failed, not what became of the stream", async () => {
    await save();
    const { machine } = await waiting();
    transportFaults.failClose = true;
    await expect(machine.migrateIncoming("pipe:a")).rejects.toMatchObject({ code: "ERR_CPR_FAKE_CLOSE" });
    streams.set("a", new Uint8Array(0));
    await expect(machine.migrateIncoming("pipe:a")).rejects.toMatchObject({ code: "ERR_CPR_FAKE_CLOSE" });
    expect(machine.runState).toBe("inmigrate");
    await machine.quit();
  });

  it("resets every device when one of them refuses its state", async () => {
    const counted = await save({}, [], "xB");
    const { machine } = await waiting();
    await expect(machine.migrateIncoming("store:a")).rejects.toMatchObject({ code: "ERR_CPR_ECHO" });
    expect(machine.runState).toBe("inmigrate");
    expect(await instructions(machine)).toBe(0);
    expect(counted).toBeGreaterThan(0);
    await machine.quit();
  });
});

describe("a checkpoint that does not fit the VM is refused", () => {
  const cases: [string, FakeOptions, string, RegExp][] = [
    [
      "another machine",
      { configuration: { machine: { machine: "other", processorCount: 1, serial: ["serial0"] } } },
      "ERR_CPR_STREAM_MACHINE",
      /Machine type received is 'fake' and local is 'other'/,
    ],
    [
      "another size of RAM",
      { size: 2 * mebibyte },
      "ERR_CPR_STREAM_RAM_SIZE",
      /Size mismatch: ram0: 0x100000 != 0x200000/,
    ],
    [
      "another name of RAM",
      { configuration: { memoryObjects: [] } },
      "ERR_CPR_STREAM_RAM_UNKNOWN",
      /Unknown ramblock "ram0", cannot accept migration/,
    ],
    [
      "another number of vCPUs",
      { configuration: { machine: { machine: "fake", processorCount: 2, serial: ["serial0"] } } },
      "ERR_CPR_STREAM_PROCESSOR",
      /1 vCPU 'counter', but this one has 2 vCPUs 'counter'/,
    ],
    ["another CPU model", { configuration: { processorModel: "other" } }, "ERR_CPR_STREAM_PROCESSOR", /1 vCPU 'other'/],
    [
      "another device",
      { commandLine: "blocks=other" },
      "ERR_CPR_STREAM_SECTION_UNKNOWN",
      /Unknown section or instance 'echo0' 0. Make sure that your current VM setup matches your saved VM setup/,
    ],
  ];
  it.each(cases)("because of %s", async (_what, options, code, message) => {
    await save();
    const { machine } = await waiting(options);
    await expect(machine.migrateIncoming("store:a")).rejects.toMatchObject({ code });
    await expect(machine.migrateIncoming("store:a")).rejects.toThrow(message);
    expect(machine.runState).toBe("inmigrate");
    await machine.quit();
  });

  it("because a device has no state in it", async () => {
    await save({ commandLine: "blocks=other" });
    const { machine } = await waiting();
    await expect(machine.migrateIncoming("store:a")).rejects.toMatchObject({ code: "ERR_CPR_STREAM_SECTION_MISSING" });
    await machine.quit();
  });

  it("because a capability differs, either way", async () => {
    await save({ path }, ["x-ignore-shared"]);
    const { machine } = await waiting({ path });
    await expect(machine.migrateIncoming("store:a")).rejects.toThrow(
      "Capability x-ignore-shared is off, but received capability is on",
    );
    await machine.quit();
    await save();
    const other = await waiting();
    other.machine.settings.setCapability("x-ignore-shared", true);
    await expect(other.machine.migrateIncoming("store:a")).rejects.toThrow(
      "Capability x-ignore-shared is on, but received capability is off",
    );
    other.machine.settings.setCapability("x-ignore-shared", false);
    await other.machine.migrateIncoming("store:a");
    await other.machine.quit();
  });

  it("because of the UUID, if the side that saved wanted it to be validated and both sides have one", async () => {
    const uuid = (digit: string) => ({ configuration: { uuid: `550e8400-e29b-41d4-a716-44665544000${digit}` } });
    await save(uuid("0"), ["validate-uuid"]);
    const other = await waiting(uuid("1"));
    for (const state of [true, false]) {
      other.machine.settings.setCapability("validate-uuid", state);
      await expect(other.machine.migrateIncoming("store:a")).rejects.toThrow(
        "UUID received is 550e8400-e29b-41d4-a716-446655440000 and local is 550e8400-e29b-41d4-a716-446655440001",
      );
    }
    await other.machine.quit();
    for (const options of [uuid("0"), {}]) {
      const same = await waiting(options);
      await same.machine.migrateIncoming("store:a");
      await same.machine.quit();
    }
    await save(uuid("0"));
    const { machine } = await waiting(uuid("1"));
    machine.settings.setCapability("validate-uuid", true);
    await machine.migrateIncoming("store:a");
    await machine.quit();
  });

  it.each([
    ["a device of another kind", '"vmsd_name":"echo"', '"vmsd_name":"ecco"', "ERR_CPR_STATE_KIND"],
    ["a field of another name", '"name":"received"', '"name":"receiver"', "ERR_CPR_STATE_FIELDS"],
    ["a newer device state", "echo0\0\0\0\0\0\0\0\x01", "echo0\0\0\0\0\0\0\0\x02", "ERR_CPR_STATE_FIELDS"],
    ["a runstate in which no VM goes on", "running\0", "sleeping", "ERR_CPR_STATE_VALUE"],
    ["an unknown capability", "x-ignore-shared", "y-ignore-shared", "ERR_CPR_STREAM_CAPABILITY_UNKNOWN"],
    [
      "RAM at another address",
      "ram0\0\0\0\0\0\x10\0\0\0\0\0\0",
      "ram0\0\0\0\0\0\x10\0\0\0\0\0\x01",
      "ERR_CPR_STREAM_RAM_ADDRESS",
    ],
    ["RAM of which nothing is said", '"id":"ram0"', '"id":"ram1"', "ERR_CPR_STREAM_FORMAT"],
  ])("because of %s", async (_what, from, to, code) => {
    await save({ path }, ["x-ignore-shared"]);
    forge(from, to);
    const { machine } = await waiting({ path });
    machine.settings.setParameter("mode", "keeping");
    machine.settings.setCapability("x-ignore-shared", true);
    await expect(machine.migrateIncoming("store:a")).rejects.toMatchObject({ code });
    expect(machine.runState).toBe("inmigrate");
    expect(await instructions(machine)).toBe(0);
    await machine.quit();
  });
});
