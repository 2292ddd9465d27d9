import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { expect, it, onTestFinished } from "vitest";
import { PseudoTerminal } from "../src/index.ts";

const text = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : Buffer.from(bytes).toString("latin1");

function open(): PseudoTerminal {
  const terminal = PseudoTerminal.open();
  onTestFinished(() => terminal.close());
  return terminal;
}

it("carries bytes as they are in both directions, to whoever opens it", async () => {
  const terminal = open();
  expect(terminal.path).toMatch(/^\/dev\/pts\/\d+$/);
  for (const round of ["first", "second"]) {
    expect(terminal.connected).toBe(false);
    expect(terminal.read()).toBeUndefined();
    const other = openSync(terminal.path, "r+");
    expect(terminal.connected).toBe(true);
    expect(text(terminal.read())).toBe("");
    const readable = new Promise<void>((resolve) => terminal.whenReadable(resolve));
    // Raw: neither an echo, nor lines, nor a carriage return that becomes a line feed.
    writeSync(other, `${round}\r\x03`);
    await readable;
    expect(text(terminal.read())).toBe(`${round}\r\x03`);
    expect(terminal.write(Buffer.from("a\nb"))).toBe(3);
    const buffer = Buffer.alloc(10);
    expect(buffer.toString("latin1", 0, readSync(other, buffer))).toBe("a\nb");
    writeSync(other, "last");
    closeSync(other);
    expect(text(terminal.read())).toBe("last");
    expect(terminal.read()).toBeUndefined();
  }
});

it("takes no more than it has room for, and tells when there is room again", async () => {
  const terminal = open();
  const other = openSync(terminal.path, "r+");
  let written = 0;
  for (let count = terminal.write(new Uint8Array(4096)); count > 0; count = terminal.write(new Uint8Array(4096))) {
    written += count;
  }
  expect(written).toBeGreaterThan(0);
  let told = false;
  terminal.whenWritable(() => {
    told = true;
  });
  for (let left = written; left > 0; ) left -= readSync(other, Buffer.alloc(65_536));
  while (!told) await delay(5);
  expect(terminal.write(new Uint8Array(1))).toBe(1);
  closeSync(other);
  // Nobody is there: it is lost, and nobody waits.
  expect(terminal.write(new Uint8Array(10_000))).toBe(10_000);
});
