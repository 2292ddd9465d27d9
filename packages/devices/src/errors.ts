import { defineError, defineErrors } from "@cpr/core";

/** Errors of the device models. */
export const deviceErrors = defineErrors({
  ERR_CPR_DEVICE_PROPERTY: defineError<{ device: string; property: string; expected: string }>({
    category: "input",
    when: "A device was given no or an unsuitable value for one of its properties.",
    message: ({ device, property, expected }) => `Device '${device}' needs ${expected} as its property '${property}'`,
  }),
  ERR_CPR_DEVICE_STATE: defineError<{ device: string; reason: string }>({
    category: "checkpoint",
    when: "The saved state of a device contradicts itself: the checkpoint is damaged or was made by a faulty program.",
    message: ({ device, reason }) => `The saved state of device '${device}' is impossible: ${reason}`,
    hint: () => "Restore from another checkpoint.",
  }),
});
