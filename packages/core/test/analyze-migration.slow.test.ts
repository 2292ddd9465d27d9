import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { qemuSourceFile } from "../../../tools/qemu-source.ts";
import { fakeVirtualMachine, instructions, mebibyte, type, until } from "./fakes/fake-machine.ts";
import { keptMemory, streams } from "./fakes/fake-plugin.ts";

const run = promisify(execFile);

let script = "";
let folder = "";

beforeAll(async () => {
  script = await qemuSourceFile("scripts/analyze-migration.py");
  folder = await mkdtemp(join(tmpdir(), "cpr-analyze-"));
}, 300_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

const analyze = async (name: string, ...options: string[]): Promise<string> =>
  (await run("python3", [script, "-f", join(folder, `${name}.state`), ...options], { cwd: folder })).stdout;

/** Saves a VM whose RAM has something in it here and there; returns that RAM. */
async function save(name: string, inPlace: boolean, uuid: boolean): Promise<Uint8Array> {
  const path = join(folder, `${name}.ram`);
  await writeFile(path, "");
  keptMemory.set(
    path,
    new Uint8Array(mebibyte).map((_, index) => ((index >> 12) % 3 === 0 ? index % 255 : 0)),
  );
  const { machine } = await fakeVirtualMachine({
    path,
    configuration: { uuid: "550e8400-e29b-41d4-a716-446655440000" },
  });
  machine.settings.setParameter("mode", "keeping");
  machine.settings.setCapability("x-ignore-shared", inPlace);
  machine.settings.setCapability("validate-uuid", uuid);
  await until(async () => (await instructions(machine)) > 50, "counting");
  type(machine, "{}");
  await machine.migrate("store:a");
  expect((await machine.migrationDone()).status).toBe("completed");
  await writeFile(join(folder, `${name}.state`), streams.get("a") as Uint8Array);
  await machine.quit();
  return keptMemory.get(path) as Uint8Array;
}

describe("QEMU's analyze-migration.py", () => {
  it.each([
    ["plain", false, false],
    ["with RAM in place", true, false],
    ["with a UUID", false, true],
    ["with RAM in place and a UUID", true, true],
  ])("reads a checkpoint %s, and extracts its RAM", async (name, inPlace, uuid) => {
    const ram = await save(name, inPlace, uuid);
    const state = JSON.parse(await analyze(name, "-d", "state")) as Record<string, Record<string, unknown>>;
    expect(Object.keys(state)).toEqual(["ram (0)", "globalstate (1)", "machine (2)", "cpu (3)", "echo0 (4)"]);
    expect(state["echo0 (4)"]).toEqual({ received: "0x00000002", last: "0x0000007d" });
    expect(state["ram (0)"]).toEqual({ "section sizes": { ram0: "0x0000000000100000" } });
    const description = JSON.parse(await analyze(name, "-d", "desc")) as { cpr: { ram: unknown } };
    const chunks = inPlace ? {} : { chunks: expect.stringMatching(/^[A-Za-z0-9+/]{6}==$/) };
    expect(description.cpr.ram).toEqual([{ id: "ram0", size: mebibyte, inPlace, bound: inPlace, ...chunks }]);
    await analyze(name, "-x");
    const extracted = await readFile(join(folder, "ram0"));
    expect(Buffer.compare(extracted, inPlace ? new Uint8Array(mebibyte) : ram)).toBe(0);
  });
});
