import { describe, expect, it } from "vitest";
import { ConsoleMultiplexer } from "../src/console-multiplexer.ts";

function create() {
  const log: string[] = [];
  const multiplexer = new ConsoleMultiplexer({
    toConsole: (bytes) => log.push(`console ${Buffer.from(bytes).toString("latin1")}`),
    quit: () => log.push("quit"),
    focus: (side) => log.push(`focus ${side}`),
    show: (text) => log.push(text.includes("Ctrl-a x") ? "help" : text),
  });
  multiplexer.monitorInput.on("data", (bytes: Buffer) => log.push(`monitor ${bytes.toString("latin1")}`));
  return { log, type: (text: string) => multiplexer.type(Buffer.from(text, "latin1")) };
}

describe("ConsoleMultiplexer", () => {
  it("sends keys to the guest's console, Ctrl-C among them", () => {
    const { log, type } = create();
    type("ls\r\x03");
    expect(log).toEqual(["console ls\r\x03"]);
  });

  it("switches to the monitor and back with Ctrl-a c", async () => {
    const { log, type } = create();
    type("one\x01ctwo\x01cthree");
    await new Promise(setImmediate);
    expect(log.filter((line) => !line.startsWith("monitor"))).toEqual([
      "console one",
      "focus monitor",
      "focus console",
      "console three",
    ]);
    expect(log).toContain("monitor two");
  });

  it("quits with Ctrl-a x, also when the two keys arrive apart", () => {
    const { log, type } = create();
    type("\x01");
    type("x");
    expect(log).toEqual(["quit"]);
  });

  it("sends Ctrl-a itself when it is typed twice", () => {
    const { log, type } = create();
    type("a\x01\x01b");
    expect(log).toEqual(["console a\x01b"]);
  });

  it("shows help with Ctrl-a h and ignores other letters", () => {
    const { log, type } = create();
    type("\x01h\x01z");
    expect(log).toEqual(["help"]);
  });
});
