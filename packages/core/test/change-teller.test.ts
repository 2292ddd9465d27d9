import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ChangeTeller } from "../src/vm/change-teller.ts";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

it("tells the first change at once, and of the others the last in each second", () => {
  const told: number[] = [];
  const changes = new ChangeTeller(0, (actual) => told.push(actual));
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

it("tells nothing that is as it was told, or as it was in the beginning", () => {
  const told: boolean[] = [];
  const changes = new ChangeTeller(false, (open) => told.push(open));
  changes.change(false);
  expect(told).toEqual([]);
  changes.change(true);
  vi.advanceTimersByTime(5000);
  changes.change(true);
  expect(told).toEqual([true]);
});
