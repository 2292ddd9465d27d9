import { array, bool, defineState, type StateOf, struct, u8, u16, u32, u64 } from "@cpr/core";

/** State of one counter. */
export const counterState = defineState("pit-8254/counter", 1, {
  mode: u8,
  binaryCodedDecimal: bool,
  access: u8,
  /** Count last written in full: 1 to 65536; 0 before the first. */
  count: u32,
  /** Whether it counts: a count has been written and, in modes 1 and 5, the gate has risen since. */
  counting: bool,
  /** The tick, counted from virtual time 0, at which the counting began. */
  start: u64,
  gate: bool,
  /** Where the counter stood when its gate stopped it. */
  stoppedAt: u32,
  /** The next byte written is the high one. */
  writeHigh: bool,
  lowByte: u8,
  /** The next byte read is the high one. */
  readHigh: bool,
  countLatched: bool,
  latchedCount: u16,
  statusLatched: bool,
  latchedStatus: u8,
});
export type CounterState = StateOf<typeof counterState>;

export const pitState = defineState("pit-8254", 1, {
  counters: array(struct(counterState), 3),
  /** Bits 3:0 of port 0x61. */
  systemControl: u8,
  /** When channel 0's output rises next, in virtual nanoseconds; all ones if it does not. */
  deadline: u64,
  /** Level of channel 0's output as the interrupt controllers see it. */
  interrupt: bool,
});
export type PitState = StateOf<typeof pitState>;
