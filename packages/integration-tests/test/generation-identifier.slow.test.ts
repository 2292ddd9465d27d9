import { closeSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { buildGuestProgram } from "@cpr/guest-programs";
import { expect, it, onTestFinished } from "vitest";
import { CprProcess } from "../../../tools/cpr-process.ts";
import { scratchFolder, scratchMachine } from "./scratch.ts";

/** Where the identifier is in the guest's RAM. */
const place = 0xf_f000;

function identifierIn(ram: string): string {
  const file = openSync(ram, "r");
  const bytes = Buffer.alloc(16);
  readSync(file, bytes, 0, 16, place);
  closeSync(file);
  return bytes.toString("hex");
}

/** Machines of one host, each with RAM of its own in a file. */
function host() {
  const state = join(scratchFolder(), "state");
  return async (device: string, ...more: string[]) => {
    const machine = scratchMachine(buildGuestProgram("counter"));
    const process = new CprProcess(machine.options(["-device", device, ...more]), { CPR_STATE_DIRECTORY: state });
    onTestFinished(() => process.kill("SIGKILL"));
    await process.ready();
    return { machine, process, identifier: () => identifierIn(machine.ram) };
  };
}

/** The notes of the last migration. */
const notes = async (process: CprProcess): Promise<string> =>
  (await process.command("info migrate"))
    .split("\n")
    .filter((line) => line.startsWith("note: "))
    .join("\n");

it("vmgenid stays the same where a guest goes on once, and is another one each further time", async () => {
  const start = host();
  const first = await start("vmgenid");
  const before = first.identifier();
  expect(before).not.toBe("00".repeat(16));
  const uri = `file:${first.machine.state}`;
  expect(await first.process.command(`migrate ${uri}`)).toBe("");
  await first.process.quit();

  const seen = new Set([before]);
  for (const again of [false, true, true]) {
    const { process, identifier } = await start("vmgenid", "-incoming", "defer");
    expect(await process.command(`migrate_incoming ${uri}`)).toBe("");
    expect(await process.command("info status")).toBe("VM status: running");
    expect(seen.has(identifier())).toBe(!again);
    expect((await notes(process)).includes("it was given a new generation")).toBe(again);
    seen.add(identifier());
    await process.quit();
  }
});

it("vmgenid is what the user says", async () => {
  const start = host();
  const given = await start("vmgenid,guid=324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87,id=generation");
  expect(given.identifier()).toBe("af6e4e32d1d1f64bbf41b9bb6c91fb87");
});

it("vmgenid is there once, with a GUID", async () => {
  const start = host();
  await expect(start("vmgenid", "-device", "vmgenid")).rejects.toThrow("at most one vmgenid device is permitted");
  await expect(start("vmgenid,guid=17")).rejects.toThrow(/guid/);
});
