import { bytes, defineState, i64, type StateOf, u8, u64 } from "@cpr/core";
import { memorySize } from "./registers.ts";

/** State of the clock. The time itself is the host's wall clock plus an offset, so it goes on while the VM stands still. */
export const rtcState = defineState("cmos-rtc", 1, {
  /** All bytes by index. Those of the time hold it only while register B's SET bit stops the clock. */
  memory: bytes(memorySize),
  index: u8,
  /** What the guest's clock is ahead of the host's, in seconds. */
  offset: i64,
  /** The guest's time, in seconds since 1970, up to which flags have been computed. */
  checked: i64,
  /** When the next periodic interrupt comes, in virtual nanoseconds; all ones if it does not. */
  periodicDeadline: u64,
});
export type RtcState = StateOf<typeof rtcState>;
