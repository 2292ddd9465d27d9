import { describe, expect, it } from "vitest";
import { TickRate } from "../src/tick-rate.ts";

describe("TickRate", () => {
  for (const frequency of [1_193_182, 3_579_545]) {
    it(`finds the first nanosecond of each tick at ${frequency} Hz, after years too`, () => {
      const rate = new TickRate(frequency);
      const year = 365 * 86_400 * frequency;
      for (const ticks of [0, 1, 2, frequency - 1, frequency, 12_345_678, year, year / 5 + 17]) {
        const time = rate.timeOf(ticks);
        expect(rate.ticksAt(time)).toBe(ticks);
        if (ticks > 0 && time < 2 ** 52) expect(rate.ticksAt(time - 1)).toBe(ticks - 1);
      }
    });
  }
});
