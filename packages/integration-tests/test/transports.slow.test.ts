import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { buildGuestProgram } from "@cpr/guest-programs";
import { describe, expect, it, onTestFinished } from "vitest";
import { CprProcess, FileLines } from "../../../tools/cpr-process.ts";
import { type ScratchMachine, scratchFolder, scratchMachine } from "./scratch.ts";

const kernel = buildGuestProgram("counter");
const tickOf = (line: string): number | undefined => {
  const match = /^tick (\d+) /.exec(line);
  return match === null ? undefined : Number(match[1]);
};

async function start(options: readonly string[]): Promise<CprProcess> {
  const process = new CprProcess(options);
  onTestFinished(() => process.kill("SIGKILL"));
  await process.ready();
  return process;
}

/** A VM whose guest has begun to count, set up for cpr-reboot with RAM in place. */
async function running(machine: ScratchMachine, more: readonly string[] = []): Promise<CprProcess> {
  const process = await start(machine.options(more));
  if (!more.includes("-incoming")) {
    await new FileLines(machine.console).until(tickOf, 30);
  }
  await process.command("migrate_set_parameter mode cpr-reboot");
  await process.command("migrate_set_capability x-ignore-shared on");
  return process;
}

describe("exec:", () => {
  it.each([
    ["cat", "cat > STATE", "cat STATE"],
    ["gzip", "gzip -c > STATE", "gzip -dc STATE"],
  ])("carries a checkpoint through %s", async (_name, outgoing, incoming) => {
    const machine = scratchMachine(kernel);
    const first = await running(machine);
    expect(await first.command(`migrate exec:${outgoing.replace("STATE", machine.state)}`)).toBe("");
    expect(await first.command("info status")).toBe("VM status: paused (postmigrate)");
    await first.quit();
    const second = await running(machine, ["-incoming", "defer"]);
    expect(await second.command(`migrate_incoming exec:${incoming.replace("STATE", machine.state)}`)).toBe("");
    expect(await second.command("info status")).toBe("VM status: running");
    expect(await new FileLines(machine.console).until(tickOf, 20)).toBeGreaterThan(0);
  });

  it.each([
    ["fails", "cat > /dev/null; echo no room >&2; exit 3", "failed with exit status 3: no room"],
    ["does not read everything", "head -c 10 > /dev/null", "ended before it had read everything"],
  ])("lets the guest run on when the command %s", async (_what, command, message) => {
    const machine = scratchMachine(kernel);
    const process = await running(machine);
    expect(await process.command(`migrate exec:${command}`)).toContain(message);
    expect(await process.command("info status")).toBe("VM status: running");
    expect(await process.command("info migrate")).toContain("Migration status: failed");
    expect(await new FileLines(machine.console).until(tickOf, 20)).toBeGreaterThan(0);
  });

  it("leaves the VM waiting when the command fails that is to bring the checkpoint", async () => {
    const machine = scratchMachine(kernel);
    const process = await running(machine, ["-incoming", "defer"]);
    expect(await process.command("migrate_incoming exec:cat /nowhere/vm.state")).toMatch(
      /^Error: The command 'cat \/nowhere\/vm.state' failed with exit status 1: .*No such file or directory/,
    );
    expect(await process.command("info status")).toBe("VM status: paused (inmigrate)");
  });
});

describe("file:", () => {
  it("puts a checkpoint behind what somebody else has in the file", async () => {
    const machine = scratchMachine(kernel);
    writeFileSync(machine.state, "X".repeat(0x1000));
    const first = await running(machine);
    expect(await first.command(`migrate file:${machine.state},offset=0x1000`)).toBe("");
    await first.quit();
    const contents = readFileSync(machine.state, "latin1");
    expect(contents.slice(0, 0x1004)).toBe(`${"X".repeat(0x1000)}QEVM`);
    const second = await running(machine, ["-incoming", "defer"]);
    expect(await second.command(`migrate_incoming file:${machine.state}`)).toContain("Not a migration stream");
    expect(await second.command(`migrate_incoming file:${machine.state},offset=4k`)).toBe("");
    expect(await second.command("info status")).toBe("VM status: running");
  });

  it("keeps an older checkpoint whole when a newer one cannot be written", async () => {
    const machine = scratchMachine(kernel);
    const process = await running(machine);
    writeFileSync(machine.state, "an older checkpoint");
    expect(await process.command("migrate file:/dev/full")).toContain("No space left on device");
    expect(await process.command(`migrate file:${machine.state}/in/a/file`)).toContain("Not a directory");
    expect(await process.command(`migrate file:${machine.state},offset=0x20M`)).toContain(
      "file URI has bad offset 0x20M: Invalid argument",
    );
    expect(await process.command("info status")).toBe("VM status: running");
    expect(readFileSync(machine.state, "latin1")).toBe("an older checkpoint");
    expect(existsSync(`${machine.ram}.cpr`)).toBe(false);
  });
});

describe("a socket, in mode normal", () => {
  it.each(["tcp", "unix"])("moves a guest from one live process to another over %s", async (scheme) => {
    const folder = scratchFolder();
    const uri = scheme === "tcp" ? `tcp:127.0.0.1:${await freePort()}` : `unix:${join(folder, "socket")}`;
    const options = (console: string): string[] => ["-m", "64M", "-kernel", kernel, "-serial", `file:${console}`];
    const consoles = [join(folder, "first.log"), join(folder, "second.log")] as const;
    const source = await start(options(consoles[0]));
    const before = await new FileLines(consoles[0]).until(tickOf, 30);
    const target = await start([...options(consoles[1]), "-incoming", "defer"]);
    const loaded = target.command(`migrate_incoming ${uri}`);
    // The target has to listen before the source connects.
    let answer = "";
    for (let attempt = 0; attempt < 100; attempt++) {
      answer = await source.command(`migrate ${uri}`);
      if (!answer.includes("Failed to connect")) {
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(answer).toBe("");
    expect(await loaded).toBe("");
    expect(await source.command("info status")).toBe("VM status: paused (postmigrate)");
    expect(await target.command("info status")).toBe("VM status: running");
    expect(await new FileLines(consoles[1]).until(tickOf, 20)).toBeGreaterThan(before);
    expect(statSync(consoles[1]).size).toBeGreaterThan(0);
  });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}
