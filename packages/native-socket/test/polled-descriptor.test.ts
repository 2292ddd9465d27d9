import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { expect, it } from "vitest";
import { PolledDescriptor } from "../src/index.ts";

it("the other end of a pair blocks for the program that gets it, which loses nothing where the reader is slow", async () => {
  const [mine, its] = PolledDescriptor.pair();
  const size = 4 << 20;
  const child = spawn("sh", ["-c", `head -c ${size} /dev/zero >&3`], { stdio: ["ignore", "ignore", "pipe", its] });
  closeSync(its);
  let said = "";
  child.stderr?.on("data", (bytes: Buffer) => {
    said += bytes.toString();
  });
  const ended = once(child, "close");
  const buffer = new Uint8Array(1 << 16);
  let received = 0;
  for (;;) {
    const count = mine.read(buffer);
    if (count === 0) break;
    if (count === undefined) await delay(5);
    received += count ?? 0;
  }
  mine.close();
  expect([await ended, said, received]).toEqual([[0, null], "", size]);
});
