import { readFileSync, statSync } from "node:fs";
import { describe, expect, it, onTestFinished } from "vitest";
import { CprProcess, FileLines } from "../../../tools/cpr-process.ts";
import { firstLine, guestAssets, parseTick } from "../../../tools/guest-assets.ts";
import { processorTime } from "../../../tools/processor-time.ts";
import { type ScratchMachine, scratchMachine } from "./scratch.ts";

const commandLine = "console=ttyS0 cryptomgr.notests panic=-1";

interface Guest {
  readonly machine: ScratchMachine;
  readonly options: string[];
  readonly process: CprProcess;
  readonly lines: FileLines;
}

/** Boots Debian's kernel to the counting initramfs. */
async function boot(more: readonly string[] = []): Promise<Guest> {
  const { kernel, initramfs } = await guestAssets();
  const machine = scratchMachine(kernel, { size: "256M" });
  const options = machine.options(["-accel", "interp", "-initrd", initramfs, "-append", commandLine, ...more]);
  const process = new CprProcess(options);
  onTestFinished(() => process.kill("SIGKILL"));
  await process.ready();
  const lines = new FileLines(machine.console);
  await lines.until((line) => (line.includes(firstLine) ? true : undefined), 120);
  return { machine, options, process, lines };
}

/** Moves a guest to a new process, with something to do before it is loaded, and returns what it counts on both sides. */
async function carryOn(
  { machine, options, process, lines }: Guest,
  meanwhile: (second: CprProcess) => Promise<void> = async () => undefined,
) {
  const before = await lines.until(parseTick, 60);
  await process.chooseReboot();
  expect(await process.command(`migrate -d file:${machine.state}`)).toBe("");
  expect(await process.command("info status")).toBe("VM status: paused (postmigrate)");
  await process.quit();
  const second = new CprProcess([...options, "-incoming", "defer"]);
  onTestFinished(() => second.kill("SIGKILL"));
  await second.ready();
  await second.chooseReboot();
  await meanwhile(second);
  expect(await second.command(`migrate_incoming file:${machine.state}`)).toBe("");
  const after = await new FileLines(machine.console).until(parseTick, 60);
  expect(readFileSync(machine.console, "latin1")).not.toMatch(/BUG:|Call Trace|stall/);
  return { before, after };
}

describe("Debian's kernel on the interpreter", () => {
  it("boots without a complaint about the processor or the machine", { timeout: 240_000 }, async () => {
    const { machine, lines, process } = await boot();
    await lines.until(parseTick, 60);
    const text = readFileSync(machine.console, "latin1");
    expect(text).not.toMatch(
      /WARNING:|BUG:|Call Trace|Oops|unchecked MSR|invalid opcode|general protection|soft lockup/,
    );
    expect(await process.command("info status")).toBe("VM status: running");
  });

  it("goes on in a new process with uptime and counter continuous", { timeout: 300_000 }, async () => {
    const guest = await boot();
    const { before, after } = await carryOn(guest);
    expect(statSync(guest.machine.state).size).toBeLessThan(256 * 1024);
    expect(after.tick).toBeGreaterThan(before.tick);
    expect(after.tick).toBeLessThanOrEqual(before.tick + 3);
    expect(after.uptime - before.uptime).toBeLessThan(after.tick - before.tick + 2);
  });

  it("is told of the time in the checkpoint if that is asked for", { timeout: 300_000 }, async () => {
    const asleep = 20;
    const { before, after } = await carryOn(await boot(), async (second) => {
      expect(await second.command("migrate_set_parameter x-guest-time advance")).toBe("");
      await new Promise((resolve) => setTimeout(resolve, asleep * 1000));
    });
    expect(after.tick).toBeLessThanOrEqual(before.tick + 3);
    expect(after.uptime - before.uptime).toBeGreaterThan(asleep);
  });

  it("starts anew when it is reset from the monitor", { timeout: 300_000 }, async () => {
    const { process, lines } = await boot();
    await process.command("system_reset");
    await lines.until((line) => (/Linux version/.test(line) ? true : undefined), 60);
    await lines.until((line) => (line.includes(firstLine) ? true : undefined), 120);
    expect(await process.command("info status")).toBe("VM status: running");
  });

  it("ends with status 0 when the guest powers off", { timeout: 240_000 }, async () => {
    const { process, machine } = await boot(["-append", `${commandLine} cpr.end=poweroff`]);
    const { status } = await process.ended;
    expect(status).toBe(0);
    expect(readFileSync(machine.console, "latin1")).toMatch(/reboot: Power down/);
  });

  it("starts anew when the guest reboots, and ends instead with -no-reboot", { timeout: 300_000 }, async () => {
    const append = ["-append", `${commandLine} cpr.end=reboot`];
    const { process, lines } = await boot(append);
    await lines.until((line) => (/reboot: Restarting system/.test(line) ? true : undefined), 60);
    await lines.until((line) => (line.includes(firstLine) ? true : undefined), 120);
    await process.quit();
    const once = await boot([...append, "-no-reboot"]);
    expect((await once.process.ended).status).toBe(0);
  });

  it("leaves the host's processor alone while it is idle, and answers the monitor while it is not", {
    timeout: 300_000,
  }, async () => {
    const { process, lines } = await boot();
    await lines.until((line) => ((parseTick(line)?.tick ?? 0) >= 3 ? true : undefined), 60);
    const [before, start] = [processorTime(process.pid), performance.now()];
    await new Promise((resolve) => setTimeout(resolve, 5000));
    const used = (processorTime(process.pid) - before) / ((performance.now() - start) / 1000);
    expect(used).toBeLessThan(0.25);
    for (let question = 0; question < 50; question += 1) {
      expect(await process.command("info status")).toBe("VM status: running");
    }
  });
});
