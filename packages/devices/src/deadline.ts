import { noDeadline, type Timer } from "@cpr/core";

/** A timer's deadline as it is saved: virtual nanoseconds, or {@link noDeadline}. */
export function saveDeadline(timer: Timer): bigint {
  return timer.deadline === undefined ? noDeadline : BigInt(Math.max(0, Math.ceil(timer.deadline)));
}

/** Puts a timer in the state that {@link saveDeadline} told of. */
export function restoreDeadline(timer: Timer, value: bigint): void {
  if (value === noDeadline) {
    timer.disarm();
  } else {
    timer.arm(Number(value));
  }
}
