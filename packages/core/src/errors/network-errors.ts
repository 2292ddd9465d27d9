import { defineError, defineErrors } from "../errors.ts";

/** What can go wrong with networks, whatever they are made of. */
export const networkErrors = defineErrors({
  ERR_CPR_NO_NETWORK_BACKEND: defineError<{ name: string; known: readonly string[] }>({
    category: "input",
    when: "`-netdev` names a type that no plugin provides.",
    message: ({ name }) => `Parameter 'type' does not accept value '${name}'`,
    hint: (details) => `Types of networks that are provided: ${details.known.join(", ") || "none"}.`,
  }),
  ERR_CPR_NETWORK_DUPLICATE: defineError<{ id: string }>({
    category: "usage",
    when: "Two networks have the same id.",
    message: ({ id }) => `Duplicate ID '${id}' for netdev`,
  }),
  ERR_CPR_NETWORK_NOT_FOUND: defineError<{ device: string; id: string; known: readonly string[] }>({
    category: "usage",
    when: "A device names a network that there is not.",
    message: ({ device, id }) => `Property '${device}.netdev' can't find value '${id}'`,
    hint: (details) => `Networks: ${details.known.join(", ") || "none; -netdev makes one"}.`,
  }),
  ERR_CPR_NETWORK_IN_USE: defineError<{ device: string; id: string }>({
    category: "usage",
    when: "Two devices name the same network.",
    message: ({ device, id }) => `Property '${device}.netdev' can't take value '${id}', it's in use`,
    hint: () => "Give each card a -netdev of its own; a bridge of the host joins several taps.",
  }),
  ERR_CPR_NO_LINK: defineError<{ name: string; known: readonly string[] }>({
    category: "input",
    when: "`set_link` names neither a network nor a network card.",
    message: ({ name }) => `Device '${name}' not found`,
    hint: (details) => `Networks and cards: ${details.known.join(", ") || "none"}.`,
  }),
  ERR_CPR_NETWORK_PROPERTY: defineError<{ id: string; type: string; property: string; expected?: string }>({
    category: "usage",
    when: "`-netdev` has a property that its type does not have, lacks one that it needs, or has a value that is not taken.",
    message: ({ id, type, property, expected }) =>
      expected === undefined
        ? `Network '${id}': Parameter '${property}' is unexpected`
        : `Network '${id}': Parameter '${property}' of '${type}' expects ${expected}`,
  }),
  ERR_CPR_NETWORK_BUSY: defineError<{ id: string; place: string }>({
    category: "busy",
    when: "Another process has what a network is made of, e.g. the tap device.",
    message: ({ id, place }) => `Network '${id}': ${place} is in use by another process`,
    hint: () => "If a VM that was saved still has it, let that process end; then continue with `cont`.",
  }),
});
