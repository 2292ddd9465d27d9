import { array, bool, defineState, type StateOf, struct, u8 } from "@cpr/core";

/** State of one 8259A. */
export const chipState = defineState("pic-8259/chip", 1, {
  /** Levels of the input pins. */
  inputs: u8,
  interruptRequest: u8,
  inService: u8,
  mask: u8,
  vectorBase: u8,
  /** The input with the lowest priority, 7 unless rotated. */
  lowestPriority: u8,
  /** How many initialisation words are still to come: 0 when initialised, else the number (2 to 4) of the next. */
  initialisation: u8,
  needsIcw4: bool,
  single: bool,
  levelTriggered: bool,
  automaticEoi: bool,
  rotateOnAutomaticEoi: bool,
  specialFullyNested: bool,
  specialMask: bool,
  readInService: bool,
  poll: bool,
  edgeLevelControl: u8,
});
export type ChipState = StateOf<typeof chipState>;

/** State of the pair: master, slave. */
export const picState = defineState("pic-8259", 1, { chips: array(struct(chipState), 2) });
