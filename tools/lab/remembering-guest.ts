import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { guestAssets } from "../guest-assets.ts";
import { initramfs } from "../initramfs.ts";

/**
 * Debian's kernel with the program `remembering-guest` as its `/init`, which prints the time ten times a second, and, after each
 * sixteen times, the sums of memory that it has filled and of a file that only an open descriptor still leads to.
 *
 * @param path - where its initramfs is put, in a folder that outlives the lab host's kernel
 * @param mebibytes - how much memory it fills
 * @returns options of `cpr run`: all but RAM, backend and console
 */
export async function rememberingGuest(path: string, mebibytes: number): Promise<string[]> {
  const { kernel } = await guestAssets();
  const init = readFileSync("/lab/programs/remembering-guest");
  writeFileSync(
    path,
    initramfs([
      { path: "init", kind: "file", data: init, mode: 0o755 },
      { path: "proc", kind: "folder" },
      // The kernel opens it for /init.
      { path: "dev/console", kind: "character-device", major: 5, minor: 1 },
    ]),
  );
  // What is no warning is not shown: half of the time until userspace would go into that.
  const append = `console=ttyS0 loglevel=5 cryptomgr.notests panic=-1 mebibytes=${mebibytes}`;
  return ["-kernel", kernel, "-initrd", path, "-append", append, "-no-reboot"];
}

/** Whether a line of the guest's console tells the time. */
export const tellsTime = (line: string): true | undefined => (line.startsWith("tick ") ? true : undefined);

/** Whether a line of the guest's console tells that it has looked at all of its memory again. */
export const tellsSums = (line: string): true | undefined => (line.startsWith("again ") ? true : undefined);

/** What a guest's kernel says; it may be in the middle of a line of the program's. */
const notice = /\[ *\d+\.\d+\] .*\r?\n/g;

/**
 * Checks by what a guest has said that it lost nothing, and noticed nothing: its memory and the open file have in them what they
 * had, it has told every tick once, its clocks went on from where they were, and its kernel is silent since it carried on.
 *
 * @param consoles - what it said, from one time that it stood still to the next; it may have been in the middle of a line
 * @returns the longest time by which its clocks went on from one tick to the next, in seconds
 */
export function checkMemories(consoles: readonly string[]): number {
  // That its processor is slow it may say.
  const notices = consoles
    .at(-1)
    ?.match(notice)
    ?.filter((line) => !line.includes("interrupt took"));
  assert.equal(notices?.join("") ?? "", "", "what the guest's kernel says");
  const said = consoles.join("").replaceAll(notice, "");
  const sums = [...said.matchAll(/^(?:filled|again) (memory [0-9a-f]{16} file [0-9a-f]{16})\r?$/gm)];
  assert.equal(new Set(sums.map(([, sum]) => sum)).size, 1, "the sums of memory and of the open file");
  // Each tick tells CLOCK_MONOTONIC first and then the uptime, which is the same clock, cut off after hundredths.
  let before = 0;
  let longest = 0;
  for (const [index, match] of [...said.matchAll(/^tick (\d+) monotonic (\S+) uptime (\S+)\r?$/gm)].entries()) {
    const place = JSON.stringify(said.slice(Math.max(0, match.index - 200), match.index + 100));
    const [tick = 0, clock = 0, uptime = 0] = match.slice(1).map(Number);
    assert.equal(tick, index, `the number of a tick, in ${place}`);
    assert.ok(before < clock + 0.01 && clock < uptime + 0.01, `the clocks go on, in ${place}`);
    longest = Math.max(longest, index === 0 ? 0 : uptime - before);
    before = uptime;
  }
  return longest;
}
