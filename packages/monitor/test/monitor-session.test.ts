import { PassThrough } from "node:stream";
import { CprError, type MonitorCommand, type VirtualMachine } from "@cpr/core";
import { describe, expect, it } from "vitest";
import { HumanMonitor } from "../src/human-monitor.ts";
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
