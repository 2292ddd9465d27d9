import type { Timer } from "@cpr/core";

/** The value of a saved deadline that means a disarmed timer. */
export const disarmed = 0xffff_ffff_ffff_ffffn;

/** A timer's deadline as it is saved: virtual nanoseconds, or {@link disarmed}. */
export function saveDeadline(timer: Timer): bigint {
  return timer.deadline === undefined ? disarmed : BigInt(Math.max(0, Math.ceil(timer.deadline)));
}

/** Whether a saved deadline can be one: numbers on the virtual clock are exact up to 2^53. */
export function isDeadline(value: bigint): boolean {
  return value === disarmed || value <= BigInt(Number.MAX_SAFE_INTEGER);
}

/** Puts a timer in the state that {@link saveDeadline} told of. */
export function restoreDeadline(timer: Timer, value: bigint): void {
  if (value === disarmed) {
    timer.disarm();
  } else {
    timer.arm(Number(value));
  }
}
