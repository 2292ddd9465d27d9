import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { buildGuestProgram } from "@cpr/guest-programs";
import { QmpClient } from "@cpr/monitor";
import { describe, expect, it, onTestFinished } from "vitest";
import { cprCommand } from "../../../tools/cpr-process.ts";
import { root } from "../../../tools/workspace.ts";
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
    const shutdown = client.event(({ event }) => event === "SHUTDOWN");
    cpr.kill("SIGTERM");
    expect(await shutdown).toMatchObject({ data: { guest: false, reason: "host-signal" } });
    expect((await cpr.ended)[0]).toBe(0);
    expect(existsSync(socket)).toBe(false);
  });

  it("leaves no socket behind when it is ended while it waits", async () => {
    const socket = join(scratchFolder(), "qmp.sock");
    const cpr = start("-qmp", `unix:${socket},server=on`);
    await once(cpr.stderr as NonNullable<typeof cpr.stderr>, "data");
    expect(existsSync(socket)).toBe(true);
    cpr.kill("SIGINT");
    expect((await cpr.ended)[0]).toBe(130);
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

describe("a migration by programs", () => {
  const shared = (folder: string): string[] => [
    ...["-object", `memory-backend-file,id=ram0,size=64M,mem-path=${join(folder, "ram0")},share=on`],
  ];

  it("goes from one process to the next, with QEMU's commands and events", async () => {
    const folder = scratchFolder();
    const [first, second] = [join(folder, "first.sock"), join(folder, "second.sock")];
    const source = start(...shared(folder), "-qmp", `unix:${first},server=on,wait=off`);
    await using one = await connected(first);
    const capabilities = ["events", "x-ignore-shared"].map((capability) => ({ capability, state: true }));
    const settings = async (client: QmpClient): Promise<void> => {
      await client.execute("migrate-set-capabilities", { capabilities });
      await client.execute("migrate-set-parameters", { mode: "cpr-reboot" });
    };
    await settings(one);
    const events: string[] = [];
    one.on(({ event, data }) => events.push(event === "MIGRATION" ? `MIGRATION ${data?.["status"]}` : event));
    const completed = one.event(({ data }) => data?.["status"] === "completed");
    const addr = { transport: "file", filename: join(folder, "vm.state"), offset: 0 };
    await one.execute("migrate", { channels: [{ "channel-type": "main", addr }] });
    await completed;
    expect(events).toEqual([
      ...["MIGRATION setup", "STOP", "MIGRATION active", "MIGRATION_PASS", "MIGRATION device", "MIGRATION completed"],
    ]);
    expect(await one.execute("query-status")).toEqual({ running: false, status: "postmigrate" });
    expect(await one.execute("query-migrate")).toMatchObject({
      status: "completed",
      ram: { total: 64 * 1024 * 1024, transferred: 0, remaining: 0, "page-size": 4096, "x-in-place": 64 * 1024 * 1024 },
    });
    await one.execute("quit");
    await source.ended;

    const destination = start(...shared(folder), "-incoming", "defer", "-qmp", `unix:${second},server=on,wait=off`);
    await using two = await connected(second);
    await settings(two);
    const uri = `file:${join(folder, "vm.state")}`;
    await expect(
      two.execute("migrate-incoming", { uri: `${uri}.missing`, "exit-on-error": false }),
    ).rejects.toMatchObject({ category: "input" });
    const resumed = two.event(({ event }) => event === "RESUME");
    await two.execute("migrate-incoming", { uri });
    await resumed;
    expect(await two.execute("query-status")).toEqual({ running: true, status: "running" });
    await two.execute("quit");
    expect((await destination.ended)[0]).toBe(0);
  });

  it("ends the process if the VM cannot be loaded, unless the program says that it will try again", async () => {
    const folder = scratchFolder();
    const socket = join(folder, "qmp.sock");
    const process = start("-incoming", "defer", "-qmp", `unix:${socket},server=on,wait=off`);
    let stderr = "";
    process.stderr?.on("data", (bytes: Buffer) => {
      stderr += bytes.toString();
    });
    await using client = await connected(socket);
    await expect(client.execute("migrate-incoming", { uri: "file:/nowhere/vm.state" })).rejects.toMatchObject({
      category: "input",
    });
    expect((await process.ended)[0]).toBe(3);
    expect(stderr).toContain("/nowhere/vm.state");
  });

  it("goes between two live processes that programs control, one of which was told where from at its start", async () => {
    const folder = scratchFolder();
    const [first, second, stream] = ["first.sock", "second.sock", "stream.sock"].map((name) => join(folder, name));
    start("-qmp", `unix:${first},server=on,wait=off`);
    start("-incoming", `unix:${stream}`, "-qmp", `unix:${second},server=on,wait=off`);
    await using one = await connected(first as string);
    await using two = await connected(second as string);
    expect(await two.execute("query-status")).toEqual({ running: false, status: "inmigrate" });
    const resumed = two.event(({ event }) => event === "RESUME");
    while (!existsSync(stream as string)) await new Promise((resolve) => setTimeout(resolve, 20));
    await one.execute("migrate", { uri: `unix:${stream}` });
    await resumed;
    expect(await two.execute("query-status")).toEqual({ running: true, status: "running" });
  });

  it("is given up by migrate_cancel from another program while a person waits for it", async () => {
    const folder = scratchFolder();
    const socket = join(folder, "qmp.sock");
    const process = start("-monitor", "stdio", "-qmp", `unix:${socket},server=on,wait=off`);
    let output = "";
    process.stdout?.on("data", (bytes: Buffer) => {
      output += bytes.toString();
    });
    await using client = await connected(socket);
    process.stdin?.write("migrate exec:sleep 600\n");
    for (let status: string | undefined; status !== "active" && status !== "device"; ) {
      ({ status } = (await client.execute("query-migrate")) as { status?: string });
    }
    await client.execute("migrate_cancel");
    while (!output.includes("Migration cancelled")) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await client.execute("query-status")).toEqual({ running: true, status: "running" });
    expect(await client.execute("query-migrate")).toMatchObject({ status: "cancelled" });
  });

  it("by cpr-save and cpr-load leaves all RAM in place, or is refused", async () => {
    const folder = scratchFolder();
    const [first, second] = [join(folder, "first.sock"), join(folder, "second.sock")];
    const filename = join(folder, "vm.state");
    start("-qmp", `unix:${second},server=on,wait=off`);
    await using volatile = await connected(second);
    await expect(volatile.execute("cpr-save", { filename, mode: "reboot" })).rejects.toMatchObject({
      message: "Memory region pc.ram is volatile",
    });
    await volatile.execute("quit");
    await volatile.closed;

    const source = start(...shared(folder), "-qmp", `unix:${first},server=on,wait=off`);
    await using one = await connected(first);
    await one.execute("cpr-save", { filename, mode: "reboot" });
    expect(await one.execute("query-status")).toMatchObject({ running: false });
    await one.execute("quit");
    await source.ended;
    start(...shared(folder), "-incoming", "defer", "-qmp", `unix:${second},server=on,wait=off`);
    await using two = await connected(second);
    await expect(two.execute("cpr-load", { filename: join(folder, "ram0") })).rejects.toMatchObject({
      message: `${join(folder, "ram0")} is not a vmstate file`,
    });
    await two.execute("cpr-load", { filename });
    expect(await two.execute("query-status")).toEqual({ running: true, status: "running" });
    await expect(two.execute("cpr-load", { filename })).rejects.toMatchObject({
      message: "cpr-load called for a running VM",
    });
  });
});

describe("cpr run -monitor unix:", () => {
  it("takes lines from people at a socket, several at once", async () => {
    const socket = join(scratchFolder(), "monitor.sock");
    start("-monitor", `unix:${socket},server=on,wait=off`);
    while (!existsSync(socket)) await new Promise((resolve) => setTimeout(resolve, 20));
    const answers = await Promise.all(
      ["info status", "info name"].map(async (line) => {
        const client = connect(socket);
        let text = "";
        client.on("data", (bytes: Buffer) => {
          text += bytes.toString();
        });
        client.end(`${line}\n`);
        await once(client, "close");
        return text;
      }),
    );
    expect(answers[0]).toContain("(cpr) VM status: running\n");
    expect(answers[1]).toContain("(cpr) cpr\n");
  });
});

/** Writes a plugin, as a stranger would install it, that contributes a command. */
function pluginWithCommand(): string {
  const folder = scratchFolder();
  mkdirSync(join(folder, "node_modules/@cpr"), { recursive: true });
  symlinkSync(join(root, "packages/core"), join(folder, "node_modules/@cpr/core"));
  const cpr = { api: 1, plugin: "./plugin", provides: { "monitor-command": ["x-add"] } };
  writeFileSync(
    join(folder, "package.json"),
    JSON.stringify({
      ...{ name: "cpr-monitor-add", version: "1.0.0", type: "module", keywords: ["cpr-plugin"], cpr },
      ...{ exports: { "./plugin": "./plugin.js", "./package.json": "./package.json" } },
      peerDependencies: { "@cpr/core": "*" },
    }),
  );
  writeFileSync(
    join(folder, "plugin.js"),
    `import { definePlugin, MonitorCommand } from "@cpr/core";

    class AddCommand {
      name = "x-add";
      words = "add";
      summary = "add numbers";
      arguments = [
        { name: "numbers", type: { listOf: "integer" }, optional: true, onlyFor: "programs", summary: "any number of them" },
        { name: "one", type: "integer", optional: "programs", summary: "a number" },
      ];
      async execute({ conversation }, { numbers = [], one = 0 }) {
        return { sum: numbers.reduce((sum, each) => sum + each, one), audience: conversation.audience };
      }
      print({ sum, audience }) {
        return \`\${sum} for \${audience}\`;
      }
    }

    export default definePlugin({
      name: "cpr-monitor-add",
      setup: (context) => context.contribute(MonitorCommand, AddCommand),
    });
    `,
  );
  return folder;
}

describe("a plugin's command", () => {
  it("is there for programs and people alike", async () => {
    const socket = join(scratchFolder(), "qmp.sock");
    start("--plugin", pluginWithCommand(), "-qmp", `unix:${socket},server=on,wait=off`);
    await using client = await connected(socket);
    expect(await client.execute("query-commands")).toContainEqual({ name: "x-add" });
    expect(await client.execute("x-add", { numbers: [1, 2, 3] })).toEqual({ sum: 6, audience: "programs" });
    await expect(client.execute("x-add", { numbers: [1, "2"] })).rejects.toMatchObject({
      message: "Invalid parameter type for 'numbers[1]', expected: integer",
    });
    const line = (text: string) => client.execute("human-monitor-command", { "command-line": text });
    expect(await line("add 4")).toBe("4 for people\r\n");
    expect(await line("help add")).toBe("add one -- add numbers\r\n    one -- a number\r\n");
  });
});
