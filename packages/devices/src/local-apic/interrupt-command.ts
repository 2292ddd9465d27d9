import { type ApicMessage, deliveryModes } from "@cpr/core";
import { command } from "./registers.ts";

/** To whom a command is sent beside the destination that it names (Intel SDM Vol. 3A §11.6.1). */
export type DestinationShorthand = "none" | "self" | "all" | "others";

const shorthands: readonly DestinationShorthand[] = ["none", "self", "all", "others"];
const everyone = 0xffff_ffff;

/** What of a value the interrupt command register keeps: the delivery status and reserved bits read as 0. */
export function writableCommand(value: bigint): bigint {
  return (value & 0xffff_ffff_0000_0000n) | (value & BigInt(command.writable));
}

/** The message that a value of the interrupt command register sends, or undefined if it sends none. */
export function decodeCommand(
  value: bigint,
  x2apic: boolean,
): { readonly message: ApicMessage; readonly shorthand: DestinationShorthand } | undefined {
  const low = Number(value & 0xffff_ffffn);
  const high = Number(value >> 32n);
  const deliveryMode = deliveryModes[(low >> command.deliveryShift) & 7];
  if (deliveryMode === undefined || deliveryMode === "external") {
    return undefined;
  }
  // The level de-assert INIT of old only synchronised arbitration ids.
  if (deliveryMode === "init" && (low & (command.level | command.assert)) === command.level) {
    return undefined;
  }
  const shorthand = shorthands[(low >> command.shorthandShift) & 3] ?? "none";
  const isBroadcast = shorthand === "all" || shorthand === "others";
  return {
    message: {
      destination: isBroadcast ? everyone : x2apic ? high : high >>> 24,
      logical: !isBroadcast && (low & command.logical) !== 0,
      deliveryMode,
      vector: low & command.vector,
      trigger: "edge",
    },
    shorthand,
  };
}
