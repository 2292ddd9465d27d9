import { spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readSync, writeSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { buildGuestProgram } from "@cpr/guest-programs";
import { describe, expect, it, onTestFinished } from "vitest";
import { CprProcess, cprCommand } from "../../../tools/cpr-process.ts";
import { scratchFolder } from "./scratch.ts";

const guest = ["-m", "64M", "-kernel", buildGuestProgram("counter"), "-no-reboot"];

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let attempt = 0; attempt < 4000; attempt++) {
    if (condition()) return;
    await delay(10);
  }
  throw new Error(`${what} did not happen`);
}

describe("a serial port", () => {
  it("on a socket shows to one client after the other what the guest prints, and takes what they type", async () => {
    const path = join(scratchFolder(), "console.sock");
    const options = ["-chardev", `socket,id=con,path=${path},server=on,wait=off`, "-serial", "chardev:con"];
    const vm = new CprProcess([...guest, ...options]);
    await vm.ready();
    expect(await vm.command("info chardev")).toBe(`con: filename=disconnected:unix:${path},server=on`);
    for (const key of ["", "q"]) {
      let text = "";
      const client = connect(path).on("data", (bytes: Buffer) => {
        text += bytes.toString("latin1");
      });
      await until(() => /tick \d+/.test(text), "a tick of the guest");
      expect(await vm.command("info chardev")).toBe(`con: filename=unix:${path},server=on`);
      client.end(key);
    }
    expect(await vm.ended).toMatchObject({ status: 0 });
    expect(existsSync(path)).toBe(false);
  });

  it("on a pseudoterminal is told where, and works like one", async () => {
    const vm = new CprProcess([...guest, "-serial", "pty"]);
    await vm.ready();
    const path = (await vm.command("info chardev")).replace("serial0: filename=pty:", "");
    const terminal = openSync(path, "r+");
    const buffer = Buffer.alloc(4096);
    let text = "";
    // The guest prints without end, and what is not read yet stays in the terminal.
    while (!/tick \d+/.test(text)) text += buffer.toString("latin1", 0, readSync(terminal, buffer));
    writeSync(terminal, "q");
    const { status, stderr } = await vm.ended;
    closeSync(terminal);
    expect(status).toBe(0);
    expect(stderr).toContain(`char device redirected to ${path} (label serial0)\n`);
  });

  it("with wait=on begins when the client is there", async () => {
    const path = join(scratchFolder(), "console.sock");
    const words = [cprCommand, "run", ...guest, "-serial", `unix:${path},server=on`];
    const vm = spawn(process.execPath, words, { stdio: ["ignore", "ignore", "pipe"] });
    onTestFinished(() => void vm.kill("SIGKILL"));
    let stderr = "";
    vm.stderr.on("data", (bytes: Buffer) => {
      stderr += bytes.toString();
    });
    await until(() => stderr.includes("waiting for connection"), "the wait");
    expect(stderr).toBe(`cpr: waiting for connection on: disconnected:unix:${path},server=on\n`);
    let text = "";
    const client = connect(path).on("data", (bytes: Buffer) => {
      text += bytes.toString("latin1");
    });
    await until(() => text.includes("counter is up"), "the first line of the guest");
    client.end("q");
    const status = await new Promise((resolve) => vm.once("close", resolve));
    expect(status).toBe(0);
  });
});

describe("cpr run", () => {
  it.each([
    [["-serial", "chardev:none"], "Character device 'none' not found"],
    [["-chardev", "null,id=a", "-serial", "chardev:a", "-serial", "chardev:a"], "Character device 'a' is in use"],
    [["-chardev", "null,id=a", "-chardev", "null,id=a"], "Duplicate ID 'a' for chardev"],
    [["-chardev", "stdio,id=a"], "Invalid value 'stdio' for"],
    [["-chardev", "socket,id=a,path=/nowhere/a.sock"], "Failed to connect to '/nowhere/a.sock': No such file"],
    [["-serial", "file:/nowhere/a"], "Could not write to '/nowhere/a': ENOENT"],
  ])("refuses %j", async (options, message) => {
    const { status, stderr } = await new CprProcess([...guest, ...options]).ended;
    expect(stderr).toContain(message);
    expect([2, 3]).toContain(status);
  });
});
