import { describe, expect, it } from "vitest";
import { advanceState, elapsedTime } from "../src/machine-thread/guest-time.ts";

describe("time while a guest is in a checkpoint", () => {
  it("does not pass unless it is asked for", () => {
    expect(elapsedTime("still", 5n, 9n)).toBe(0n);
    expect(elapsedTime("advance", 5n, 9n)).toBe(4n);
  });

  it("never goes backwards, and does not pass if nobody knows how much it was", () => {
    expect(elapsedTime("advance", 9n, 5n)).toBe(0n);
    expect(elapsedTime("advance", 0n, 5n)).toBe(0n);
  });

  it("moves the virtual clock, time-stamp counters and kvmclock ahead, by their frequencies", () => {
    expect(advanceState("machine", { clock: 7n, request: 0 }, 1_000n)).toEqual({ clock: 1_007n, request: 0 });
    const processor = { tsc: (1n << 64n) - 1n, tscFrequency: 2_500_000_000n, systemTime: 3n, rip: 1n };
    expect(advanceState("cpu", processor, 1_000n)).toEqual({ ...processor, tsc: 2_499n, systemTime: 1_003n });
    const device = { deadline: 7n };
    expect(advanceState("pit", device, 1_000n)).toBe(device);
  });
});
