import { describe, expect, it } from "vitest";
import { CharacterChannel } from "../src/machine-thread/character-channel.ts";

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
const kibibyte = 1024;

/** A channel, and what it has told both sides. */
function open(opened = true) {
  const sent: Uint8Array[] = [];
  const told: string[] = [];
  const channel = new CharacterChannel({
    opened,
    send: (bytes) => sent.push(bytes),
    listening: (listening) => told.push(`listening ${listening}`),
  });
  channel.onInput = () => told.push("input");
  channel.onOpened = () => told.push(`opened ${channel.opened}`);
  channel.onWritable = () => told.push("writable");
  return { channel, sent, told };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("output of a character device", () => {
  it("is gathered, keeps its order, and is a copy", async () => {
    const { channel, sent } = open();
    const bytes = Buffer.from("one ");
    channel.write(bytes);
    bytes.fill(0);
    channel.write(Buffer.from("two "));
    channel.write(Buffer.alloc(1000, "x"));
    expect(sent).toEqual([]);
    await turn();
    expect(sent.map(text)).toEqual([`one two ${"x".repeat(1000)}`]);
    channel.write(Buffer.from("three"));
    channel.flush();
    channel.flush();
    expect(text(sent[1] as Uint8Array)).toBe("three");
    await turn();
    expect(sent).toHaveLength(2);
  });

  it("waits with the device while the host does not take it", () => {
    const { channel, sent, told } = open();
    channel.write(new Uint8Array(255 * kibibyte));
    expect(channel.writable).toBe(true);
    channel.flush();
    channel.write(new Uint8Array(kibibyte));
    expect(channel.writable).toBe(false);
    channel.flush();
    channel.outputTaken(100 * kibibyte);
    expect(channel.writable).toBe(false);
    expect(told).toEqual([]);
    channel.outputTaken(100 * kibibyte);
    expect(channel.writable).toBe(true);
    channel.outputTaken(56 * kibibyte);
    expect(told).toEqual(["writable"]);
    expect(sent.map(({ length }) => length)).toEqual([255 * kibibyte, kibibyte]);
  });

  it("is bounded, whatever the device does", () => {
    const { channel, sent } = open();
    for (let round = 0; round < 100; round++) {
      channel.write(new Uint8Array(100 * kibibyte).fill(round));
      channel.flush();
    }
    expect(sent.reduce((sum, { length }) => sum + length, 0)).toBe(1024 * kibibyte);
    channel.outputTaken(1024 * kibibyte);
    channel.write(Buffer.from("after"));
    channel.flush();
    expect(text(sent.at(-1) as Uint8Array)).toBe("after");
  });
});

describe("input of a character device", () => {
  it("is told when there was none, and read in pieces", () => {
    const { channel, told } = open();
    void channel.push(Buffer.from("abc"));
    void channel.push(Buffer.from("def"));
    void channel.push(Buffer.alloc(0));
    expect(told).toEqual(["input"]);
    expect(channel.waiting).toBe(6);
    expect(text(channel.read(2))).toBe("ab");
    expect(channel.read(0)).toHaveLength(0);
    expect(text(channel.read(100))).toBe("c");
    expect(text(channel.read(100))).toBe("def");
    expect(channel.read(1)).toHaveLength(0);
    void channel.push(Buffer.from("g"));
    expect(told).toEqual(["input", "input"]);
  });

  it("keeps the host waiting while the guest does not take it", async () => {
    const { channel } = open();
    let ready = 0;
    await channel.push(new Uint8Array(63 * kibibyte));
    void channel.push(new Uint8Array(2 * kibibyte)).then(() => (ready += 1));
    await turn();
    expect(ready).toBe(0);
    channel.read(2 * kibibyte);
    await turn();
    expect(ready).toBe(1);
  });
});

describe("the other end of a character device", () => {
  it("comes and goes", async () => {
    const { channel, told } = open(false);
    expect(channel.opened).toBe(false);
    channel.setOpened(true);
    channel.setOpened(true);
    expect(channel.opened).toBe(true);
    channel.setOpened(false);
    expect(channel.opened).toBe(false);
    expect(told).toEqual(["opened true", "opened false"]);
  });

  it("is there until what it sent before it went is read", async () => {
    const { channel, told } = open();
    void channel.push(Buffer.from("last words"));
    channel.setOpened(false);
    expect(channel.opened).toBe(true);
    channel.read(4);
    await turn();
    expect(channel.opened).toBe(true);
    channel.read(100);
    expect(channel.opened).toBe(true);
    await turn();
    expect(channel.opened).toBe(false);
    expect(told).toEqual(["input", "opened false"]);
  });

  it("that comes back before that has never gone", async () => {
    const { channel, told } = open();
    void channel.push(Buffer.from("x"));
    channel.setOpened(false);
    channel.setOpened(true);
    channel.read(1);
    await turn();
    expect(channel.opened).toBe(true);
    expect(told).toEqual(["input"]);
  });

  it("is told whether the guest listens", () => {
    const { channel, told } = open();
    channel.setListening(true);
    channel.setListening(false);
    channel.setListening(false);
    expect(told).toEqual(["listening false"]);
  });
});
