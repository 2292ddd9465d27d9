import { defineError, defineErrors } from "@cpr/core";

/** Errors of the machine type `pc`. */
export const machineErrors = defineErrors({
  ERR_CPR_NO_KERNEL: defineError<Record<string, never>>({
    category: "usage",
    when: "A VM is to be booted and no kernel was named. The machine has no firmware that could find one.",
    message: () => "There is nothing to boot: no kernel was given",
    hint: () => "Name a kernel with -kernel, or wait for a checkpoint with -incoming.",
  }),
  ERR_CPR_BOOT_FILE: defineError<{ path: string; purpose: string; reason: string }>({
    category: "input",
    when: "The kernel or initrd cannot be read.",
    message: ({ path, purpose, reason }) => `Could not read the ${purpose} '${path}': ${reason}`,
    hint: ({ purpose }) => `Check the path given with -${purpose}.`,
  }),
  ERR_CPR_MACHINE_RAM: defineError<{ size: number; minimum: number }>({
    category: "input",
    when: "The VM has less RAM than the machine type needs for itself.",
    message: ({ size, minimum }) =>
      `Machine 'pc' needs at least ${minimum / 2 ** 20} MiB of RAM and was given ${size} bytes`,
    hint: () => "Give the VM more RAM with -m.",
  }),
  ERR_CPR_SERIAL_COUNT: defineError<{ count: number; limit: number }>({
    category: "input",
    when: "More serial ports were asked for than the machine type has places for.",
    message: ({ count, limit }) => `Machine 'pc' has ${limit} serial ports; ${count} were asked for`,
    hint: () => "Leave out some of the -serial options.",
  }),
  ERR_CPR_BOARD_DEVICE: defineError<{ model: string }>({
    category: "usage",
    when: "`-device` adds a device twice for which the machine has one place.",
    message: ({ model }) => `at most one ${model} device is permitted`,
    hint: () => "Leave out one of the -device options.",
  }),
  ERR_CPR_DEVICE_NOT_PLUGGABLE: defineError<{ model: string }>({
    category: "usage",
    when: "`-device` names a model that only the machine itself makes devices of.",
    message: () => "Parameter 'driver' expects a pluggable device type",
    hint: ({ model }) => `'${model}' is a part of the machine; see -device help.`,
  }),
  ERR_CPR_DEVICE_PROPERTY_UNKNOWN: defineError<{ model: string; property: string; known: readonly string[] }>({
    category: "usage",
    when: "`-device` gives a device a property that its model does not have.",
    message: ({ model, property }) => `Property '${model}.${property}' not found`,
    hint: ({ model, known }) => (known.length === 0 ? `'${model}' has none.` : `There are: ${known.join(", ")}.`),
  }),
  ERR_CPR_NO_BUS: defineError<{ model: string; kind: string }>({
    category: "usage",
    when: "`-device` names a model that plugs into a kind of bus that the VM does not have.",
    message: ({ model, kind }) => `No '${kind}' bus found for device '${model}'`,
    hint: () => "Put the -device that has the bus in front of it.",
  }),
  ERR_CPR_BUS_NOT_FOUND: defineError<{ bus: string }>({
    category: "usage",
    when: "The property `bus` of a device names no bus.",
    message: ({ bus }) => `Bus '${bus}' not found`,
    hint: () => "A bus is named by the id of the device that has it, which has to come first; PCI's is pci.0.",
  }),
  ERR_CPR_BUS_KIND: defineError<{ model: string; kind: string }>({
    category: "usage",
    when: "The property `bus` of a device names a bus of another kind than its model plugs into.",
    message: ({ model, kind }) => `Device '${model}' can't go on ${kind} bus`,
    hint: () => "Name another bus, or leave the property out.",
  }),
  ERR_CPR_DEVICE_CONTRACT: defineError<{ model: string; method: string }>({
    category: "plugin",
    when: "A device model does not have what the board needs to wire it.",
    message: ({ model, method }) =>
      `Device model '${model}' makes devices without '${method}', which machine 'pc' needs`,
    hint: () => "Remove the plugin that replaces this device model, or use a newer version of it.",
  }),
});
