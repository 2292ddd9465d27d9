import { bool, bytes, defineState, type StateOf, struct, u16 } from "@cpr/core";
import { macSize } from "./mac-address.ts";
import { receiveFilterState } from "./receive-filter.ts";

/** What the driver knows of the card and has told it (virtio 1.2 §5.1). */
export const virtioNetworkState = defineState("virtio-net", 1, {
  mac: bytes(macSize),
  mtu: u16,
  /** The driver was told that the link is up. */
  linkUp: bool,
  /** The driver was asked to announce itself, and has not answered yet. */
  announcing: bool,
  filter: struct(receiveFilterState),
});
export type VirtioNetworkState = StateOf<typeof virtioNetworkState>;
