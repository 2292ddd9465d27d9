import { afterEach, expect, it, vi } from "vitest";
import { BalloonChanges } from "../src/vm/balloon-changes.ts";

afterEach(() => {
  vi.useRealTimers();
});

it("tells the first change at once, and of the others the last in each second", () => {
  vi.useFakeTimers();
  const told: number[] = [];
  const changes = new BalloonChanges((actual) => told.push(actual));
  for (const actual of [100, 99, 98]) changes.change(actual);
  expect(told).toEqual([100]);
  vi.advanceTimersByTime(1000);
  expect(told).toEqual([100, 98]);
  vi.advanceTimersByTime(5000);
  expect(told).toEqual([100, 98]);
  changes.change(97);
  changes.change(98);
  changes.change(97);
  vi.advanceTimersByTime(1000);
  expect(told).toEqual([100, 98, 97]);
});
