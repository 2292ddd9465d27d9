import { existsSync, openSync, readSync, statSync } from "node:fs";
import { buildGuestProgram } from "@cpr/guest-programs";
import { describe, expect, it, onTestFinished } from "vitest";
import { CprProcess, FileLines } from "../../../tools/cpr-process.ts";
import { type ScratchMachine, scratchMachine } from "./scratch.ts";

const tickOf = (line: string): { tick: number; check: string } | undefined => {
  const match = /^tick (\d+) uptime [\d.]+ check ([0-9a-f]{8})$/.exec(line);
  return match === null ? undefined : { tick: Number(match[1]), check: match[2] as string };
};

async function start(options: readonly string[]): Promise<CprProcess> {
  const process = new CprProcess(options);
  onTestFinished(() => process.kill("SIGKILL"));
  await process.ready();
  return process;
}

async function startCounter(machine: ScratchMachine): Promise<CprProcess> {
  const process = await start(machine.options());
  await new FileLines(machine.console).until((line) => (line.includes("counter is up") ? true : undefined), 30);
  return process;
}

/** The seed's commands on the outgoing side. */
async function save(process: CprProcess, uri: string): Promise<void> {
  expect(await process.command("migrate_set_parameter mode cpr-reboot")).toBe("");
  expect(await process.command("migrate_set_capability x-ignore-shared on")).toBe("");
  expect(await process.command(`migrate -d ${uri}`)).toBe("");
  // On a busy machine the prompt is there before the checkpoint is.
  while (!(await process.command("info migrate")).includes("Migration status: completed"));
}

/** The seed's commands on the incoming side. */
async function load(process: CprProcess, uri: string): Promise<string> {
  expect(await process.command("migrate_set_parameter mode cpr-reboot")).toBe("");
  expect(await process.command("migrate_set_capability x-ignore-shared on")).toBe("");
  return process.command(`migrate_incoming ${uri}`);
}

describe("cpr-reboot with RAM in place, as in the documentation's first example", () => {
  it("carries the guest on in a new process", async () => {
    const machine = scratchMachine(buildGuestProgram("counter"));
    const first = await startCounter(machine);
    const lines = new FileLines(machine.console);
    const before = await lines.until(tickOf, 20);
    expect(await first.command("info status")).toBe("VM status: running");
    await save(first, `file:${machine.state}`);
    expect(await first.command("info status")).toBe("VM status: paused (postmigrate)");
    expect((await first.quit()).status).toBe(0);
    expect(statSync(machine.state).size).toBeLessThan(1024 * 1024);

    const second = await start(machine.options(["-incoming", "defer"]));
    expect(await second.command("info status")).toBe("VM status: paused (inmigrate)");
    expect(await load(second, `file:${machine.state}`)).toBe("");
    expect(await second.command("info status")).toBe("VM status: running");
    const after = await new FileLines(machine.console).until(tickOf, 20);
    expect(after.tick).toBeGreaterThan(before.tick);
    expect(after.tick).toBeLessThanOrEqual(before.tick + 2);
    expect(after.check).toBe(before.check);
    expect((await second.quit()).status).toBe(0);
  });

  it("executes on the mapped file itself: another process sees the guest's stores", async () => {
    const machine = scratchMachine(buildGuestProgram("counter"));
    await startCounter(machine);
    const descriptor = openSync(machine.ram, "r");
    const image = Buffer.alloc(2 * 1024 * 1024);
    const read = (): Buffer => {
      readSync(descriptor, image, 0, image.length, 1024 * 1024);
      return Buffer.from(image);
    };
    expect(read().includes("cpr guest: counter is up")).toBe(true);
    // The table that the guest works on changes while it runs.
    const views = new Set<string>();
    for (let attempt = 0; attempt < 100 && views.size < 2; attempt += 1) {
      views.add(read().toString("latin1"));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(views.size).toBeGreaterThan(1);
  });

  it("brings a guest that was stopped back stopped", async () => {
    const machine = scratchMachine(buildGuestProgram("counter"));
    const first = await startCounter(machine);
    await first.command("stop");
    expect(await first.command("info status")).toBe("VM status: paused");
    await save(first, `file:${machine.state}`);
    await first.quit();
    const second = await start(machine.options(["-incoming", "defer"]));
    expect(await load(second, `file:${machine.state}`)).toBe("");
    expect(await second.command("info status")).toBe("VM status: paused");
    expect(await second.command("cont")).toBe("");
    expect(await second.command("info status")).toBe("VM status: running");
    expect((await new FileLines(machine.console).until(tickOf, 20)).tick).toBeGreaterThan(0);
  });

  it("lets the guest go on after postmigrate, and refuses to go back to the checkpoint then", async () => {
    const machine = scratchMachine(buildGuestProgram("counter"));
    const first = await startCounter(machine);
    await save(first, `file:${machine.state}`);
    expect(await first.command("cont")).toBe("");
    expect(await first.command("info status")).toBe("VM status: running");
    await first.quit();
    const second = await start(machine.options(["-incoming", "defer"]));
    expect(await load(second, `file:${machine.state}`)).toMatch(/^Error: /);
    expect(await second.command("info status")).toBe("VM status: paused (inmigrate)");
  });

  it("can be told another URI after one that does not work", async () => {
    const machine = scratchMachine(buildGuestProgram("counter"));
    const first = await startCounter(machine);
    await save(first, `file:${machine.state}`);
    await first.quit();
    const second = await start(machine.options(["-incoming", "defer"]));
    expect(await load(second, `file:${machine.state}.missing`)).toContain("No such file or directory");
    expect(await second.command("info status")).toBe("VM status: paused (inmigrate)");
    expect(await second.command(`migrate_incoming file:${machine.state}`)).toBe("");
    expect(await second.command("info status")).toBe("VM status: running");
  });
});

describe("cpr-reboot with RAM copied", () => {
  it("resumes from the file alone", async () => {
    const machine = scratchMachine(buildGuestProgram("counter"));
    const options = (more: string[]): string[] => [
      ...["-m", "64M", "-kernel", buildGuestProgram("counter"), "-serial", `file:${machine.console}`, ...more],
    ];
    const first = await start(options([]));
    const lines = new FileLines(machine.console);
    const before = await lines.until(tickOf, 30);
    await first.command("migrate_set_parameter mode cpr-reboot");
    expect(await first.command(`migrate file:${machine.state}`)).toBe("");
    await first.quit();
    // The guest uses less than 1 MiB of its 64: zero pages are left out.
    expect(statSync(machine.state).size).toBeLessThan(2 * 1024 * 1024);
    const second = await start(options(["-incoming", "defer"]));
    await second.command("migrate_set_parameter mode cpr-reboot");
    expect(await second.command(`migrate_incoming file:${machine.state}`)).toBe("");
    const after = await new FileLines(machine.console).until(tickOf, 20);
    expect(after.tick).toBeGreaterThan(before.tick);
    expect(after.check).toBe(before.check);
  });
});

describe("the sockets of QEMU", () => {
  for (const uri of ["tcp:127.0.0.1:4444", "unix:/tmp/cpr-nowhere.sock", "vsock:3:4444"]) {
    it(`refuses ${uri.split(":")[0]} in mode cpr-reboot, says why, and the guest goes on`, async () => {
      const machine = scratchMachine(buildGuestProgram("counter"));
      const process = await startCounter(machine);
      await process.command("migrate_set_parameter mode cpr-reboot");
      const answer = await process.command(`migrate -d ${uri}`);
      expect(answer).toMatch(/^Error: .*cpr-reboot/);
      expect(answer).toContain("file:");
      expect(await process.command("info status")).toBe("VM status: running");
      expect(existsSync("/tmp/cpr-nowhere.sock")).toBe(false);
    });
  }
});
