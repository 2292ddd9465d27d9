import { closeSync, fstatSync, ftruncateSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ReclaimFunction } from "@cpr/core";
import { expect, onTestFinished, test } from "vitest";
import { createMemfd, mapOver, reclaimUrl, reserveMemory, touchedRangesOf } from "../src/index.ts";

const page = 4096;
const size = 64 * page;
const { reclaim } = (await import(reclaimUrl)) as { reclaim: ReclaimFunction };

const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

function scratchFile(folder: string): number {
  const path = mkdtempSync(join(folder, "reclaim-"));
  onTestFinished(() => rmSync(path, { recursive: true }));
  return openSync(join(path, "ram"), "w+");
}

test.each([
  ["a memfd", () => createMemfd("reclaim", {})],
  ["a file on tmpfs", () => scratchFile("/dev/shm")],
  ["a file on disk", () => scratchFile(tmpdir())],
])("shared pages leave %s", (_what, open) => {
  const descriptor = open();
  onTestFinished(() => closeSync(descriptor));
  ftruncateSync(descriptor, size);
  const target = reserveMemory(size);
  mapOver(target, { descriptor, visibility: "shared" });
  target.fill(1);
  const used = fstatSync(descriptor).blocks;
  reclaim(target.subarray(16 * page, 48 * page), true);
  expect(fstatSync(descriptor).blocks).toBeLessThanOrEqual(used / 2 + 16);
  expect(isZero(target.subarray(16 * page, 48 * page))).toBe(true);
  expect(target[16 * page - 1]).toBe(1);
  expect(target[48 * page]).toBe(1);
});

test("private pages are forgotten", () => {
  const target = reserveMemory(size);
  target.fill(1);
  reclaim(target.subarray(16 * page, 48 * page), false);
  expect(touchedRangesOf(target)).toEqual([
    [0, 16 * page],
    [48 * page, size],
  ]);
  expect(isZero(target.subarray(16 * page, 48 * page))).toBe(true);
  expect(target[48 * page]).toBe(1);
});
