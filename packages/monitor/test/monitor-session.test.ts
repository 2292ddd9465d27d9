import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { CprError, type MonitorCommand, type VirtualMachine } from "@cpr/core";
import { describe, expect, it, onTestFinished } from "vitest";
import { HumanMonitor } from "../src/human-monitor.ts";
import { LineHistory } from "../src/line-history.ts";
import { MonitorSession } from "../src/monitor-session.ts";

const machine = { name: "test" } as VirtualMachine;

function command(words: string, execute: MonitorCommand["execute"]): MonitorCommand {
  return { name: words, words, summary: "", arguments: [], execute, print: String };
}

function converse(commands: readonly MonitorCommand[]) {
  const input = new PassThrough();
  const output = new PassThrough();
  let text = "";
  output.on("data", (bytes: Buffer) => {
    text += bytes.toString();
  });
  const session = new MonitorSession(new HumanMonitor({ machine, commands }), { input, output, terminal: false });
  return { input, session, text: () => text };
}

describe("MonitorSession on a pipe", () => {
  it("carries out lines one after the other, however fast they come", async () => {
    const order: string[] = [];
    const slow = command("slow", async () => {
      order.push("slow begins");
      await new Promise((resolve) => setTimeout(resolve, 20));
      order.push("slow ends");
      return "slow";
    });
    const fast = command("fast", async () => {
      order.push("fast");
      return "fast";
    });
    const { input, session, text } = converse([slow, fast]);
    input.end("slow\nfast\n");
    await session.done;
    expect(order).toEqual(["slow begins", "slow ends", "fast"]);
    expect(text()).toMatch(/^\(cpr\) slow\n(\(cpr\) )?fast\n/);
  });

  it("answers a failure with the error and its hint, and goes on", async () => {
    const failing = command("failing", async () => {
      throw new CprError("ERR_CPR_X", "refused", "it does not work", { hint: "Try another way." });
    });
    const { input, session, text } = converse([failing]);
    input.end("failing\nnonsense\n");
    await session.done;
    expect(text()).toContain("Error: it does not work\nTry another way.\n");
    expect(text()).toContain("Error: unknown command: 'nonsense'\n");
  });

  it("ignores empty lines and comments", async () => {
    const { input, session, text } = converse([]);
    input.end("\n   \n# a comment\n");
    await session.done;
    expect(text()).not.toContain("Error");
  });
});

describe("MonitorSession on a connection", () => {
  it("carries out no more lines of somebody who reads no answers", async () => {
    let executed = 0;
    const long = command("long", async () => {
      executed += 1;
      return "x".repeat(100_000);
    });
    const input = new PassThrough();
    const output = new PassThrough();
    const session = new MonitorSession(new HumanMonitor({ machine, commands: [long] }), {
      ...{ input, output, terminal: false },
    });
    input.end("long\n".repeat(100));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(executed).toBeLessThan(10);
    output.resume();
    await session.done;
    expect(executed).toBe(100);
  });

  it("ends when the connection breaks, in the middle of an answer too", async () => {
    const long = command("long", async () => "x".repeat(1_000_000));
    const input = new PassThrough();
    const output = new PassThrough();
    const session = new MonitorSession(new HumanMonitor({ machine, commands: [long] }), {
      ...{ input, output, terminal: false },
    });
    input.write("long\nlong\n");
    await new Promise((resolve) => setTimeout(resolve, 50));
    input.destroy();
    output.destroy();
    await session.done;
  });
});

describe("completion", () => {
  it("completes commands and the values that a command knows", () => {
    const monitor = new HumanMonitor({
      machine,
      commands: [
        command("migrate", async () => undefined),
        command("info", async () => undefined),
        command("info status", async () => undefined),
        {
          ...command("set", async () => undefined),
          arguments: [{ name: "what", type: "string", summary: "", complete: () => ["mode", "max-bandwidth"] }],
        },
      ],
    });
    expect(monitor.complete("mi")).toEqual([["migrate"], "mi"]);
    expect(monitor.complete("info s")).toEqual([["info status"], "info s"]);
    expect(monitor.complete("set mo")).toEqual([["mode"], "mo"]);
  });
});

/** A terminal of which the test sees what is written, and can type. */
function terminal(machine: VirtualMachine, commands: readonly MonitorCommand[], history?: LineHistory) {
  const input = new PassThrough();
  const output = Object.assign(new PassThrough(), { isTTY: true, columns: 80 });
  let text = "";
  output.on("data", (bytes: Buffer) => {
    text += bytes.toString();
  });
  const monitor = new HumanMonitor({ machine, commands });
  const session = new MonitorSession(monitor, {
    ...{ input, output, terminal: true },
    ...(history === undefined ? {} : { history }),
  });
  const shows = async (pattern: RegExp): Promise<void> => {
    while (!pattern.test(text)) await new Promise((resolve) => setTimeout(resolve, 10));
  };
  return { input, session, shows, text: () => text };
}

describe("MonitorSession on a terminal", () => {
  it("shows a bar with rate and time left while a command takes long, and removes it", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const slow = command("slow", async ({ conversation }) => {
      conversation.progress?.({ done: 0, total: 1 << 30 });
      const timer = setInterval(() => conversation.progress?.({ done: 1 << 28, total: 1 << 30 }), 20);
      await promise;
      clearInterval(timer);
      conversation.progress?.(undefined);
      return "done";
    });
    const { input, session, shows } = terminal(machine, [slow]);
    input.write("slow\r");
    await shows(/\[#{8}\.{24}\] 25% .*iB\/s, .* left/);
    resolve();
    await shows(/done\n/);
    session.close();
  });

  it("gives up the migration with Ctrl-C, and a line that is being typed", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting = command("waiting", async () => {
      await promise;
      return "given up";
    });
    const { input, session, shows } = terminal({ migrateCancel: async () => resolve() } as VirtualMachine, [waiting]);
    input.write("nonsense\x03waiting\r");
    await shows(/\^C\n/);
    await new Promise((done) => setTimeout(done, 20));
    input.write("\x03");
    await shows(/given up\n/);
    session.close();
  });

  it("keeps the lines that were typed for the next session", async () => {
    const folder = mkdtempSync(join(tmpdir(), "cpr-history-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, "state", "monitor-history");
    const echo = command("echo", async () => "answer");
    const first = terminal(machine, [echo], new LineHistory(path));
    first.input.write("echo\r");
    await first.shows(/answer\n/);
    first.session.close();
    expect(new LineHistory(path).read()).toEqual(["echo"]);
    const second = terminal(machine, [echo], new LineHistory(path));
    second.input.write("\x1b[A\r");
    await second.shows(/answer\n/);
    second.session.close();
    writeFileSync(join(folder, "file"), "");
    new LineHistory(join(folder, "file", "nowhere")).write(["lost"]);
  });
});
