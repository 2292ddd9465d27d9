import { array, bool, defineState, type StateOf, struct, u8, u64 } from "@cpr/core";

/** A port as the guest can observe it. */
export const portState = defineState("virtio-serial/port", 1, {
  /** There is a port with this number. */
  present: bool,
  /** It is a console. */
  console: bool,
  /** The guest has said that it is ready for the port. */
  ready: bool,
  /** The guest has the port open. */
  guestOpen: bool,
  /** What the guest is told last about the host's end, also if the message still waits. */
  hostOpen: bool,
  /** Control messages that wait for a buffer: a bit for each kind, see `pendingMessage`. */
  pending: u8,
  /** Bytes of the next chain of output that the host has already. */
  sent: u64,
});
export type PortState = StateOf<typeof portState>;

/** Bits of {@link PortState.pending}, in the order in which the messages are sent. */
export const pendingMessage = { add: 1, console: 2, name: 4, open: 8 } as const;

/** The state of all ports, by number. */
export function serialState(maximumPorts: number) {
  return defineState("virtio-serial/ports", 1, { ports: array(struct(portState), maximumPorts) });
}
