import { defineError, defineErrors } from "@cpr/core";

/** Errors of the device models. */
export const deviceErrors = defineErrors({
  ERR_CPR_DEVICE_PROPERTY: defineError<{ device: string; property: string; expected: string }>({
    category: "input",
    when: "A device was given no or an unsuitable value for one of its properties.",
    message: ({ device, property, expected }) => `Device '${device}' needs ${expected} as its property '${property}'`,
  }),
  ERR_CPR_SERIAL_PORT: defineError<{ device: string; problem: string }>({
    category: "usage",
    when: "A virtconsole or virtserialport cannot be plugged into its virtio-serial-pci.",
    message: ({ problem }) => problem,
    hint: ({ device }) => `Leave nr out of device '${device}', or give it another nr or name.`,
  }),
  ERR_CPR_DEVICE_STATE: defineError<{ device: string; reason: string }>({
    category: "checkpoint",
    when: "The saved state of a device contradicts itself: the checkpoint is damaged or was made by a faulty program.",
    message: ({ device, reason }) => `The saved state of device '${device}' is impossible: ${reason}`,
    hint: () => "Restore from another checkpoint.",
  }),
  ERR_CPR_DISK_DIFFERS: defineError<{ device: string; path: string; differences: readonly string[] }>({
    category: "checkpoint",
    when: "A VM is loaded with a disk of another size or kind than it had when it was saved.",
    message: ({ device, path, differences }) =>
      `The disk '${path}' of device '${device}' is not the one that the VM was saved with: it ${differences.join(", ")}`,
    hint: () => "Give the VM the disk that it had.",
  }),
  ERR_CPR_PCI_ADDRESS: defineError<{ device: string; address: string }>({
    category: "usage",
    when: "The property `addr` of a PCI device is no address of a slot.",
    message: ({ device, address }) => `Property '${device}.addr' doesn't take value '${address}'`,
    hint: () => "It takes SLOT or SLOT.0, with the slot as a hexadecimal number from 1 to 1f.",
  }),
  ERR_CPR_PCI_SLOT: defineError<{ device: string; slot: number; holder: string }>({
    category: "usage",
    when: "Two PCI devices were given the same slot.",
    message: ({ device, slot, holder }) =>
      `PCI: slot ${slot} function 0 not available for ${device}, in use by ${holder}`,
    hint: () => "Leave the property addr out, or name another slot.",
  }),
  ERR_CPR_PCI_FULL: defineError<{ device: string }>({
    category: "usage",
    when: "There are more PCI devices than the bus has slots.",
    message: ({ device }) => `PCI: no slot/function available for ${device}, all in use or reserved`,
    hint: () => "Leave out some of the -device options: there are 31 slots.",
  }),
  ERR_CPR_PCI_WINDOW: defineError<{ device: string; size: number }>({
    category: "usage",
    when: "The ranges of the PCI devices do not fit in the addresses that the machine has for them.",
    message: ({ device, size }) => `PCI: there is no room for the ${size} bytes of a range of device '${device}'`,
    hint: () => "Leave out some of the -device options.",
  }),
});
