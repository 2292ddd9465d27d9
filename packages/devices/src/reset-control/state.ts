import { defineState, u8 } from "@cpr/core";

/** State of the reset control registers. */
export const resetControlState = defineState("reset-control", 1, { resetControl: u8, systemControl: u8 });
