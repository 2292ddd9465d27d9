import { array, defineState, type StateOf, struct, u8, u32 } from "@cpr/core";
import { pinCount } from "./registers.ts";

export const entryState = defineState("ioapic/entry", 1, { low: u32, high: u32 });

/** State of an IOAPIC. */
export const ioapicState = defineState("ioapic", 1, {
  id: u8,
  select: u8,
  /** Levels of the input pins, a bit each. */
  inputs: u32,
  entries: array(struct(entryState), pinCount),
});
export type IoapicState = StateOf<typeof ioapicState>;
