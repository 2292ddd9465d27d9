import { bool, bytes, defineState, type StateOf } from "@cpr/core";

/** State of the generation identifier. What the guest sees of it is in RAM. */
export const vmgenidState = defineState("vmgenid", 1, {
  /** The identifier as it lies in RAM: a GUID whose first three fields are little-endian. */
  guid: bytes(16),
  /** The identifier is another one than in RAM: the guest has not run since it changed. */
  changed: bool,
});
export type VmgenidState = StateOf<typeof vmgenidState>;
