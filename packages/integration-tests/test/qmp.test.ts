import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { buildGuestProgram } from "@cpr/guest-programs";
import { QmpClient } from "@cpr/monitor";
import { describe, expect, it, onTestFinished } from "vitest";
import { cprCommand } from "../../../tools/cpr-process.ts";
import { scratchFolder } from "./scratch.ts";

/** Starts a `cpr run` with a guest that counts, and nothing of it on standard output. */
function start(...more: string[]): ChildProcess & { readonly ended: Promise<unknown[]> } {
  const words = ["run", "-m", "64M", "-kernel", buildGuestProgram("counter"), "-serial", "null", ...more];
  const child = spawn(process.execPath, [cprCommand, ...words], { stdio: ["pipe", "pipe", "pipe"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  return Object.assign(child, { ended: once(child, "close") });
}

/** Connects as soon as the process listens. */
async function connected(path: string): Promise<QmpClient> {
  for (;;) {
    try {
      return await QmpClient.connect(path);
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

describe("cpr run -qmp", () => {
  it("lets two programs and a person control one VM, and removes its socket", async () => {
    const socket = join(scratchFolder(), "qmp.sock");
    const cpr = start("-monitor", "stdio", "-qmp", `unix:${socket},server=on,wait=off`);
    await using one = await connected(socket);
    await using two = await connected(socket);
    expect(await one.execute("query-status")).toEqual({ running: true, status: "running" });
    const stopped = two.event(({ event }) => event === "STOP");
    cpr.stdin?.write("stop\n");
    await stopped;
    expect(await one.execute("query-status")).toEqual({ running: false, status: "paused" });
    const resumed = one.event(({ event }) => event === "RESUME");
    await two.execute("cont");
    await resumed;
    const shutdown = two.event(({ event }) => event === "SHUTDOWN");
    expect(await one.execute("quit")).toEqual({});
    expect(await shutdown).toMatchObject({ data: { guest: false, reason: "host-qmp-quit" } });
    expect((await cpr.ended)[0]).toBe(0);
    expect(existsSync(socket)).toBe(false);
  });

  it("starts the VM when a client is there, if it is told to wait", async () => {
    const socket = join(scratchFolder(), "qmp.sock");
    const cpr = start("-qmp", `unix:${socket},server=on`);
    const [text] = (await once(cpr.stderr as NonNullable<typeof cpr.stderr>, "data")) as [Buffer];
    expect(text.toString()).toContain(`waiting for a connection on unix:${socket}`);
    await using client = await connected(socket);
    expect(await client.execute("query-status")).toMatchObject({ running: true });
    cpr.kill("SIGTERM");
    expect((await cpr.ended)[0]).toBe(0);
    expect(existsSync(socket)).toBe(false);
  });

  it("speaks QMP on standard input and output", async () => {
    const cpr = start("-qmp", "stdio");
    let output = "";
    cpr.stdout?.on("data", (bytes: Buffer) => {
      output += bytes.toString();
    });
    cpr.stdin?.write('{"execute":"qmp_capabilities"}{"execute":"query-name","id":1}{"execute":"quit","id":2}');
    expect((await cpr.ended)[0]).toBe(0);
    const messages = output
      .trimEnd()
      .split("\r\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(messages[0]).toHaveProperty("QMP");
    expect(messages).toContainEqual({ return: { name: "cpr" }, id: 1 });
    expect(messages).toContainEqual({ return: {}, id: 2 });
  });

  it("does not take the socket of another VM", async () => {
    const socket = join(scratchFolder(), "qmp.sock");
    const first = start("-qmp", `unix:${socket},server=on,wait=off`);
    await using client = await connected(socket);
    const second = start("-qmp", `unix:${socket},server=on,wait=off`);
    let stderr = "";
    second.stderr?.on("data", (bytes: Buffer) => {
      stderr += bytes.toString();
    });
    expect((await second.ended)[0]).toBe(5);
    expect(stderr).toContain(`Failed to bind socket to ${socket}: Address already in use`);
    expect(await client.execute("query-status")).toMatchObject({ running: true });
    await client.execute("quit");
    await first.ended;
  });
});
