import { defineError, defineErrors } from "@cpr/core";

/** What can go wrong with networks through a tap device. */
export const tapErrors = defineErrors({
  ERR_CPR_NETWORK_TAP: defineError<{ id: string; name: string; reason: string; remedy: string }>({
    category: "host",
    when: "A tap device cannot be attached to: it is none, it is another user's, or the host has none at all.",
    message: ({ id, name, reason }) => `Network '${id}': could not configure /dev/net/tun (${name}): ${reason}`,
    hint: ({ remedy }) => remedy,
  }),
  ERR_CPR_NETWORK_TAP_DESCRIPTOR: defineError<{ id: string; descriptor: number; reason: string }>({
    category: "input",
    when: "The descriptor that `-netdev tap,fd=N` names is not that of a tap device.",
    message: ({ id, descriptor, reason }) => `Network '${id}': descriptor ${descriptor} is not a tap device: ${reason}`,
    hint: () => "Start the process with a descriptor of a tap device that was attached with IFF_TAP and IFF_NO_PI.",
  }),
});
