import { execFileSync } from "node:child_process";

/** The TSC, in cycles, and this kernel's CLOCK_MONOTONIC, in milliseconds, at the same moment. */
export interface ClockReading {
  readonly tsc: number;
  readonly monotonic: number;
}

/** Reads both clocks, with the help of the program `tsc-clock`. */
export function readClocks(): ClockReading {
  const [tsc = 0, nanoseconds = 0] = execFileSync("tsc-clock", { encoding: "utf8" }).trim().split(" ").map(Number);
  return { tsc, monotonic: nanoseconds / 1e6 };
}

/** CLOCK_MONOTONIC in milliseconds: it begins with the kernel that runs. */
export const monotonic = (): number => Number(process.hrtime.bigint()) / 1e6;

/**
 * When this kernel's CLOCK_MONOTONIC was 0, on that of the kernel before it: by the TSC, which goes on when a kernel is replaced
 * by kexec.
 *
 * @param before - two readings under the kernel before, some seconds apart: they tell the rate of the TSC
 * @param now - a reading under this one
 */
export function beginningOfKernel(before: readonly [ClockReading, ClockReading], now: ClockReading): number {
  const [first, last] = before;
  const rate = (last.tsc - first.tsc) / (last.monotonic - first.monotonic);
  return last.monotonic + (now.tsc - last.tsc) / rate - now.monotonic;
}
