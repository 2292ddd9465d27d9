import { spawnSync } from "node:child_process";
import { readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildGuestProgram } from "@cpr/guest-programs";
import { describe, expect, it, onTestFinished } from "vitest";
import { CprProcess, cprCommand, FileLines } from "../../../tools/cpr-process.ts";
import { scratchFolder, scratchMachine } from "./scratch.ts";

/** Runs a `cpr` that is expected to refuse. */
function refuse(...options: string[]): { status: number | null; text: string; lines: string[] } {
  const { status, stderr } = spawnSync(process.execPath, [cprCommand, "run", ...options], {
    encoding: "utf8",
    input: "",
    timeout: 30_000,
  });
  return { status, text: stderr, lines: stderr.trimEnd().split("\n") };
}

/** One sentence, a hint, no stack trace. */
function expectClear({ lines }: { lines: string[] }): void {
  expect(lines[0]).toMatch(/^cpr: /);
  expect(lines.length).toBeGreaterThanOrEqual(2);
  expect(lines.length).toBeLessThanOrEqual(3);
  expect(lines.join("\n")).not.toMatch(/^\s+at /m);
}

const counter = buildGuestProgram("counter");

describe("bad input to cpr run", () => {
  it("tells of a kernel that does not exist", () => {
    const result = refuse("-m", "64M", "-kernel", "/nowhere/vmlinuz");
    expect(result.text).toContain("/nowhere/vmlinuz");
    expect(result.status).toBe(3);
    expectClear(result);
  });

  it("tells of a file that is no kernel", () => {
    const folder = scratchFolder();
    writeFileSync(join(folder, "text"), "not a kernel\n".repeat(1000));
    const result = refuse("-m", "64M", "-kernel", join(folder, "text"));
    expect(result.status).toBe(3);
    expectClear(result);
  });

  it("tells of an initrd that does not exist", () => {
    const result = refuse("-m", "64M", "-kernel", counter, "-initrd", "/nowhere/initrd");
    expect(result.text).toContain("/nowhere/initrd");
    expect(result.status).toBe(3);
    expectClear(result);
  });

  it("tells that RAM is too small for the kernel", () => {
    const result = refuse("-m", "1M", "-kernel", counter);
    expect(result.status).toBe(3);
    expectClear(result);
  });

  it("tells of a setting of migration that there is not, or that cannot be", () => {
    const given = ["-m", "64M", "-kernel", counter];
    for (const [options, text, status] of [
      [["-global", "migration.nonsense=on"], "Property 'migration.nonsense' not found", 2],
      [["-global", "migration.xbzrle=on"], "Migration capability 'xbzrle' is not supported", 7],
      [["-migrate-mode-enable", "mad"], "Parameter 'mode' does not accept value 'mad'", 3],
      [["-icount", "shift=7,rr=record,rrfile=replay.bin"], "Record/replay is not supported", 7],
    ] as const) {
      const result = refuse(...given, ...options);
      expect(result.text).toContain(text);
      expect(result.status).toBe(status);
      expectClear(result);
    }
  });

  it("tells of an unknown option", () => {
    const result = refuse("-frobnicate");
    expect(result.text).toContain("unknown option '-frobnicate'");
    expect(result.status).toBe(2);
  });

  it.each([
    ["an unknown object type", "memory-backend-teapot,id=ram0,size=64M"],
    ["an unknown property", "memory-backend-file,id=ram0,size=64M,mem-path=/dev/shm/x,colour=red"],
    ["a missing size", "memory-backend-ram,id=ram0"],
    ["a size that is no number", "memory-backend-ram,id=ram0,size=plenty"],
  ])("tells of %s in -object", (_, object) => {
    const result = refuse("-m", "64M", "-kernel", counter, "-object", object);
    expect([2, 3]).toContain(result.status);
    expectClear(result);
  });

  it("tells that -m and the memory object differ", () => {
    const folder = scratchFolder();
    const object = `memory-backend-file,id=ram0,size=64M,mem-path=${folder}/ram0,share=on`;
    const result = refuse("-m", "128M", "-kernel", counter, "-object", object);
    expect([2, 3]).toContain(result.status);
    expectClear(result);
  });

  it("leaves a RAM file of another size as it is", () => {
    const folder = scratchFolder();
    const path = join(folder, "ram0");
    writeFileSync(path, Buffer.alloc(4096 * 3, 7));
    const object = `memory-backend-file,id=ram0,size=64M,mem-path=${path},share=on`;
    const result = refuse("-m", "64M", "-kernel", counter, "-object", object);
    expect(result.status).toBe(3);
    expectClear(result);
    expect(readFileSync(path).equals(Buffer.alloc(4096 * 3, 7))).toBe(true);
  });

  it("tells of a backend, a machine and a serial device that are not there", () => {
    for (const options of [
      ["-accel", "teapot"],
      ["-machine", "teapot"],
      ["-serial", "teapot"],
      ["-cpu", "teapot"],
      ["-smp", "0"],
    ]) {
      const result = refuse("-m", "64M", "-kernel", counter, ...options);
      expect([2, 3, 8]).toContain(result.status);
      expectClear(result);
    }
  });
});

it("names the features of a CPU model that a backend lacks", () => {
  const result = refuse("-m", "64M", "-kernel", counter, "-accel", "interp", "-cpu", "cpr64-v3");
  expect(result.text).toMatch(
    /'interp' lacks features of CPU model 'cpr64-v3' here: fma, movbe, avx, f16c, bmi1, avx2/,
  );
  expect(result.status).toBe(4);
});

it("names the features that a guest was given and the VM that is to load it lacks", async () => {
  const machine = scratchMachine(counter);
  const first = new CprProcess(machine.options(["-accel", "interp"]));
  onTestFinished(() => first.kill("SIGKILL"));
  await first.ready();
  await first.chooseReboot();
  expect(await first.command(`migrate file:${machine.state}`)).toBe("");
  await first.quit();
  const second = new CprProcess(machine.options(["-accel", "interp", "-cpu", "cpr64-v1", "-incoming", "defer"]));
  onTestFinished(() => second.kill("SIGKILL"));
  await second.ready();
  await second.chooseReboot();
  expect(await second.command(`migrate_incoming file:${machine.state}`)).toMatch(
    /1 vCPU 'cpr64-v2', but this one has 1 vCPU 'cpr64-v1', which lacks sse3, ssse3, .*fsgsbase, smep, umip/,
  );
  expect(await second.command("info status")).toBe("VM status: paused (inmigrate)");
});

describe("a second process on the same RAM", () => {
  it("is refused, and the first goes on", async () => {
    const machine = scratchMachine(counter);
    const first = new CprProcess(machine.options());
    onTestFinished(() => first.kill("SIGKILL"));
    await first.ready();
    const result = refuse(...machine.options().map((word) => word.replace("console.log", "other.log")));
    expect(result.text).toContain(machine.ram);
    expect(result.status).toBe(5);
    expectClear(result);
    expect(await first.command("info status")).toBe("VM status: running");
    await new FileLines(machine.console).until((line) => (line.startsWith("tick 1 ") ? true : undefined), 20);
  });
});

describe("a checkpoint that cannot be loaded", () => {
  async function checkpoint() {
    const machine = scratchMachine(counter);
    const first = new CprProcess(machine.options());
    onTestFinished(() => first.kill("SIGKILL"));
    await first.ready();
    await new FileLines(machine.console).until((line) => (line.includes("counter is up") ? true : undefined), 20);
    await first.command("migrate_set_parameter mode cpr-reboot");
    await first.command("migrate_set_capability x-ignore-shared on");
    await first.command(`migrate file:${machine.state}`);
    await first.quit();
    return machine;
  }

  async function load(options: readonly string[], uri: string) {
    const second = new CprProcess([...options, "-incoming", "defer"]);
    onTestFinished(() => second.kill("SIGKILL"));
    await second.ready();
    await second.command("migrate_set_parameter mode cpr-reboot");
    await second.command("migrate_set_capability x-ignore-shared on");
    const answer = await second.command(`migrate_incoming ${uri}`);
    return { second, answer };
  }

  it("is refused when it is truncated or changed, nothing is touched, and the whole one loads after", async () => {
    const machine = await checkpoint();
    const whole = readFileSync(machine.state);
    const ram = readFileSync(machine.ram);
    truncateSync(machine.state, Math.floor(whole.length / 2));
    const { second, answer } = await load(machine.options(), `file:${machine.state}`);
    expect(answer).toMatch(/^Error: /);
    const changed = Buffer.from(whole);
    changed[Math.floor(whole.length / 3)] = (changed[Math.floor(whole.length / 3)] as number) ^ 0x10;
    writeFileSync(machine.state, changed);
    expect(await second.command(`migrate_incoming file:${machine.state}`)).toMatch(/^Error: /);
    expect(await second.command("info status")).toBe("VM status: paused (inmigrate)");
    expect(readFileSync(machine.ram).equals(ram)).toBe(true);
    writeFileSync(machine.state, whole);
    expect(await second.command(`migrate_incoming file:${machine.state}`)).toBe("");
    expect(await second.command("info status")).toBe("VM status: running");
  });

  it("is refused when it is no checkpoint at all", async () => {
    const machine = scratchMachine(counter);
    writeFileSync(machine.state, "#!/bin/sh\necho hello\n");
    const { answer } = await load(machine.options(), `file:${machine.state}`);
    expect(answer).toMatch(/^Error: .*[Nn]ot a migration stream/);
  });

  it("is refused by a machine with other RAM", async () => {
    const machine = await checkpoint();
    const other = scratchMachine(counter, { size: "96M" });
    const { second, answer } = await load(other.options(), `file:${machine.state}`);
    expect(answer).toMatch(/^Error: /);
    expect(await second.command("info status")).toBe("VM status: paused (inmigrate)");
  });
});

describe("a place that cannot be written", () => {
  it.each([
    ["a folder that does not exist", "file:/nowhere/vm.state"],
    ["an unknown scheme", "teapot:vm.state"],
    ["no scheme", "vm.state"],
    ["a bad offset", "file:/dev/shm/x,offset=0x20M"],
  ])("refuses %s before the guest is stopped", async (_, uri) => {
    const machine = scratchMachine(counter);
    const process = new CprProcess(machine.options());
    onTestFinished(() => process.kill("SIGKILL"));
    await process.ready();
    await process.command("migrate_set_parameter mode cpr-reboot");
    const answer = await process.command(`migrate ${uri}`);
    expect(answer).toMatch(/^Error: /);
    expect(await process.command("info status")).toBe("VM status: running");
  });

  it("keeps the older checkpoint, and the guest goes on, when the disk is full", async () => {
    const machine = scratchMachine(counter);
    const full = join(scratchFolder(), "full");
    spawnSync("mkdir", [full]);
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=16k", "tmpfs", full]);
    const target = mounted.status === 0 ? join(full, "vm.state") : "/dev/full";
    if (mounted.status === 0) onTestFinished(() => void spawnSync("umount", [full]));
    if (mounted.status === 0) writeFileSync(target, "an older checkpoint");
    const process = new CprProcess(machine.options());
    onTestFinished(() => process.kill("SIGKILL"));
    await process.ready();
    await process.command("migrate_set_parameter mode cpr-reboot");
    expect(await process.command(`migrate file:${target}`)).toMatch(/^Error: .*[Nn]o space left/);
    expect(await process.command("info status")).toBe("VM status: running");
    if (mounted.status === 0) {
      expect(readFileSync(target, "utf8")).toBe("an older checkpoint");
      expect(statSync(target).size).toBe(19);
    }
  });
});
