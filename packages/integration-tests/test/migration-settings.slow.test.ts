import { buildGuestProgram } from "@cpr/guest-programs";
import { describe, expect, it, onTestFinished } from "vitest";
import { CprProcess, FileLines } from "../../../tools/cpr-process.ts";
import { type ScratchMachine, scratchMachine } from "./scratch.ts";

/** What a person would set with two commands, on the command line. */
const settings = ["-global", "migration.mode=cpr-reboot", "-global", "migration.x-ignore-shared=on"];

async function start(machine: ScratchMachine, ...more: readonly string[]): Promise<CprProcess> {
  const process = new CprProcess(machine.options([...settings, ...more]));
  onTestFinished(() => process.kill("SIGKILL"));
  await process.ready();
  return process;
}

const isTick = (line: string): true | undefined => (/^tick \d+ /.test(line) ? true : undefined);

describe("settings of migration on the command line", () => {
  it("let -incoming URI load a VM at once whose RAM stays in place", async () => {
    const machine = scratchMachine(buildGuestProgram("counter"));
    const first = await start(machine);
    await new FileLines(machine.console).until(isTick, 30);
    expect(await first.command(`migrate file:${machine.state}`)).toBe("");
    expect((await first.quit()).status).toBe(0);
    const second = await start(machine, "-incoming", `file:${machine.state}`);
    expect(await second.command("info status")).toBe("VM status: running");
    await new FileLines(machine.console).until(isTick, 30);
    expect((await second.quit()).status).toBe(0);
  });

  it("let a migration wait for migrate_continue; what cont makes of its checkpoint is told", async () => {
    const machine = scratchMachine(buildGuestProgram("counter"));
    const process = await start(machine, "-global", "migration.pause-before-switchover=on");
    await new FileLines(machine.console).until(isTick, 30);
    expect(await process.command("migrate_continue pre-switchover")).toContain("Migration not in expected state: none");
    expect(await process.command(`migrate -d file:${machine.state}`)).toBe("");
    while (!(await process.command("info migrate")).includes("pre-switchover")) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(await process.command("info status")).toBe("VM status: paused (finish-migrate)");
    expect(await process.command("cont")).toContain("Migration is not finalized yet");
    expect(await process.command("migrate_continue pre-switchover")).toBe("");
    while (!(await process.command("info migrate")).includes("completed")) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(await process.command("info migrate")).not.toContain("cannot be loaded any more");
    expect(await process.command("cont")).toBe("");
    expect(await process.command("info migrate")).toContain(
      `The checkpoint 'file:${machine.state}' cannot be loaded any more: its RAM was left in place, and the VM has gone on`,
    );
    expect((await process.quit()).status).toBe(0);
    const late = new CprProcess(machine.options([...settings, "-incoming", `file:${machine.state}`]));
    const { status, stderr } = await late.ended;
    expect(stderr).toContain("does not belong to this checkpoint");
    expect(status).toBe(6);
  });
});

describe("RAM that looks as if it stayed in place", () => {
  it("is copied, and the user is told in one line", async () => {
    const { state } = scratchMachine("");
    const ram = ["-object", "memory-backend-memfd,id=ram0,size=64M,share=on", "-m", "64M"];
    const guest = ["-kernel", buildGuestProgram("counter"), "-serial", "null"];
    const process = new CprProcess([...ram, ...guest, ...settings]);
    onTestFinished(() => process.kill("SIGKILL"));
    await process.ready();
    const notice =
      "note: RAM 'ram0' (memfd) is shared but would not be found again, so it is copied into the checkpoint";
    expect(await process.command(`migrate file:${state}`)).toBe(notice);
    expect((await process.command("info migrate")).split("\n")).toContain(notice);
    expect((await process.quit()).status).toBe(0);
    const second = new CprProcess([...ram, ...guest, ...settings, "-incoming", `file:${state}`]);
    onTestFinished(() => second.kill("SIGKILL"));
    await second.ready();
    expect(await second.command("info status")).toBe("VM status: running");
    expect((await second.quit()).status).toBe(0);
  });
});

describe("a migration that must not be", () => {
  it("is refused with what would do, while the guest runs on", async () => {
    const process = await start(scratchMachine(buildGuestProgram("counter")));
    for (const uri of ["tcp:127.0.0.1:1", "unix:/nowhere/socket"]) {
      const answer = await process.command(`migrate ${uri}`);
      expect(answer).toContain(`'${uri}' cannot be used in mode cpr-reboot`);
      expect(answer).toMatch(/Use a URI that keeps the bytes: .*file:…/);
    }
    expect(await process.command("migrate_set_parameter mode mad")).toMatch(
      /does not accept value 'mad'[\s\S]*cpr-reboot/,
    );
    expect(await process.command("migrate_set_parameter mode cpr-transfer")).toContain(
      "Migration mode 'cpr-transfer' is not supported",
    );
    expect(await process.command("migrate_set_capability background-snapshot on")).toBe("");
    expect(await process.command("migrate file:/dev/null")).toContain("Cannot use background snapshot with CPR");
    expect(await process.command("info status")).toBe("VM status: running");
    expect((await process.quit()).status).toBe(0);
  });
});
