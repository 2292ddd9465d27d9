import { type ApicMessage, deliveryModes, type InterruptMessage } from "@cpr/core";

/** The part of the address that says that a write is an interrupt message. */
const messageArea = 0xfee;

/** What a message-signalled interrupt says (Intel SDM Vol. 3A §11.11); undefined if it is none, or its delivery mode is reserved. */
export function apicMessageOf({ address, data }: InterruptMessage): ApicMessage | undefined {
  const deliveryMode = deliveryModes[(data >>> 8) & 7];
  if (Math.floor(address / 0x10_0000) !== messageArea || deliveryMode === undefined) return undefined;
  // The redirection hint: one of those that the destination names, the one with the lowest priority.
  const hint = (address & 8) !== 0;
  return {
    destination: (address >>> 12) & 0xff,
    logical: (address & 4) !== 0,
    deliveryMode: hint && deliveryMode === "fixed" ? "lowest-priority" : deliveryMode,
    vector: data & 0xff,
    trigger: (data & 0x8000) !== 0 ? "level" : "edge",
  };
}
