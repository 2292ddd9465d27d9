import { defineError, defineErrors } from "../errors.ts";

/** What can go wrong with a VM and its parts outside of a migration. */
export const machineErrors = defineErrors({
  ERR_CPR_NO_MEMORY: defineError<Record<string, never>>({
    category: "usage",
    when: "A VM is asked for without any RAM.",
    message: () => "The VM has no RAM",
    hint: () => "Give it some with `-m SIZE`.",
  }),
  ERR_CPR_SIZE: defineError<{ text: string }>({
    category: "usage",
    when: "A size is not a number of bytes with an optional suffix.",
    message: ({ text }) => `'${text}' is not a size`,
    hint: () => "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta- and exabytes: 512M, 1.5G.",
  }),
  ERR_CPR_MEMORY_DUPLICATE: defineError<{ id: string }>({
    category: "usage",
    when: "Two memory objects have the same id.",
    message: ({ id }) => `attempt to add duplicate property '${id}' to object (type 'container')`,
    hint: () => "Every `-object` needs an id of its own.",
  }),
  ERR_CPR_MEMORY_ID: defineError<{ id: string }>({
    category: "usage",
    when: "The id of a memory object is empty or too long for the migration stream (127 bytes of UTF-8).",
    message: ({ id }) => `'${id}' is not a possible id of a memory object`,
  }),
  ERR_CPR_MEMORY_OBJECT_MISSING: defineError<{ id: string; known: readonly string[] }>({
    category: "usage",
    when: "`-machine memory-backend=ID` names no object, or there are several objects and it is missing.",
    message: ({ id }) => (id === "" ? "Which memory object is the RAM is not said" : `Memory object '${id}' not found`),
    hint: (details) => `Use \`-machine …,memory-backend=ID\`; there are: ${details.known.join(", ") || "none"}.`,
  }),
  ERR_CPR_MEMORY_RAM_SIZE: defineError<{ id: string; size: number; ramSize: number }>({
    category: "usage",
    when: "`-m` and the size of the memory object that is the RAM differ.",
    message: () => "Machine memory size does not match the size of the memory backend",
    hint: ({ id, size, ramSize }) => `Object '${id}' has ${size} bytes, \`-m\` says ${ramSize}.`,
  }),
  ERR_CPR_MEMORY_TYPE: defineError<{ id: string; type: string; known: readonly string[] }>({
    category: "input",
    when: "No installed memory provider serves a memory object.",
    message: ({ id, type }) => `No memory provider serves object '${id}' of type '${type}'`,
    hint: (details) => `Types that are provided: ${details.known.join(", ") || "none"}.`,
  }),
  ERR_CPR_MEMORY_SIZE: defineError<{ id: string; size: number }>({
    category: "usage",
    when: "The size of a memory object is not a positive multiple of the page size.",
    message: ({ id, size }) => `The size of memory object '${id}', ${size} bytes, is not a positive multiple of 4096`,
  }),
  ERR_CPR_MEMORY_SAME_OBJECT: defineError<{ first: string; second: string; location: string }>({
    category: "input",
    when: "Two memory objects are the same file.",
    message: ({ first, second, location }) => `Memory objects '${first}' and '${second}' are both '${location}'`,
  }),
  ERR_CPR_RAM_TOO_LARGE: defineError<{ backend: string; size: number; maximum: number }>({
    category: "input",
    when: "A VM is asked for with more RAM than the execution backend can address.",
    message: ({ backend, size, maximum }) =>
      `The execution backend '${backend}' can address ${maximum} bytes of RAM, but ${size} bytes were asked for`,
    hint: () => "Give `-m` a smaller size, or take another backend with `-accel`.",
  }),
  ERR_CPR_PROCESSOR_COUNT: defineError<{ backend: string; count: number; maximum: number }>({
    category: "input",
    when: "A VM is asked for with more vCPUs than the execution backend can run, or with none.",
    message: ({ backend, count, maximum }) =>
      `Invalid SMP CPUs ${count}. The max CPUs supported by the execution backend '${backend}' is ${maximum}`,
  }),
  ERR_CPR_PROCESSOR_MODEL: defineError<{ backend: string; model: string; known: readonly string[] }>({
    category: "input",
    when: "`-cpu` names a model that the execution backend does not provide.",
    message: ({ model }) => `unable to find CPU model '${model}'`,
    hint: (details) => `The execution backend '${details.backend}' provides: ${details.known.join(", ")}.`,
  }),
  ERR_CPR_PROCESSOR_FEATURES: defineError<{ backend: string; model: string; missing: readonly string[] }>({
    category: "host",
    when: "The execution backend cannot give the guest all features of the CPU model on this host.",
    message: ({ backend, model, missing }) =>
      `The execution backend '${backend}' lacks features of CPU model '${model}' here: ${missing.join(", ")}`,
    hint: () => "Choose a smaller model with `-cpu`, e.g. cpr64-v1, or another backend with `-accel`.",
  }),
  ERR_CPR_TSC_FREQUENCY: defineError<{ backend: string; wished: number; only: number }>({
    category: "host",
    when: "`-cpu …,tsc-frequency=HZ` asks for a frequency that the execution backend cannot provide on this host.",
    message: ({ backend, wished, only }) =>
      `The execution backend '${backend}' runs time-stamp counters at ${only} Hz here, not at ${wished} Hz`,
    hint: () => "The host's processor cannot scale the counter. Leave tsc-frequency out, or take another backend.",
  }),
  ERR_CPR_BACKEND_UNAVAILABLE: defineError<{ backend: string; reason: string; remedy?: string | undefined }>({
    category: "host",
    when: "The execution backend does not work on this host.",
    message: ({ backend, reason }) => `The execution backend '${backend}' does not work here: ${reason}`,
    hint: ({ remedy }) => remedy ?? "Take another one with `-accel`.",
  }),
  ERR_CPR_NO_BACKEND_AVAILABLE: defineError<{ reasons: readonly string[] }>({
    category: "host",
    when: "None of the installed execution backends works on this host.",
    message: ({ reasons }) =>
      reasons.length === 0
        ? "No execution backend is installed"
        : `No execution backend works here: ${reasons.join("; ")}`,
  }),
  ERR_CPR_DEVICE_DUPLICATE: defineError<{ id: string }>({
    category: "plugin",
    when: "A machine has two devices of the same id, or one whose id is empty, too long or reserved.",
    message: ({ id }) => `The device id '${id}' is used twice, reserved, empty or longer than 127 bytes`,
  }),
  ERR_CPR_RESET_REQUIRED: defineError<{ runState: string }>({
    category: "refused",
    when: "`cont` after the guest has shut down or the VM has failed.",
    message: () => "Resetting the Virtual Machine is required",
    hint: () => "Reset it with `system_reset`.",
  }),
  ERR_CPR_NOT_SUSPENDED: defineError<{ runState: string }>({
    category: "refused",
    when: "`system_wakeup` while the guest is not suspended.",
    message: () => "Unable to wake up: guest is not in suspended state",
  }),
  ERR_CPR_ENDED: defineError<Record<string, never>>({
    category: "refused",
    when: "A command for a VM that has ended.",
    message: () => "The VM has ended",
  }),
  ERR_CPR_CHARACTER_DEVICE: defineError<{ id: string; known: readonly string[] }>({
    category: "usage",
    when: "A device is to have, or input is for, a character device that there is not.",
    message: ({ id }) => `Character device '${id}' not found`,
    hint: ({ known }) => `There are: ${known.join(", ") || "none"}. -chardev TYPE,id=ID makes one.`,
  }),
  ERR_CPR_NO_BALLOON: defineError<Record<string, never>>({
    category: "refused",
    when: "`balloon` or `query-balloon` in a VM without a balloon.",
    message: () => "No balloon device has been activated",
    hint: () => "Start the VM with -device virtio-balloon-pci.",
  }),
  ERR_CPR_CHARACTER_DEVICE_BUSY: defineError<{ id: string }>({
    category: "usage",
    when: "Two devices of the machine are to have the same character device.",
    message: ({ id }) => `Character device '${id}' is in use`,
    hint: () => "Give each device a character device of its own.",
  }),
  ERR_CPR_MACHINE_THREAD: defineError<{ reason: string }>({
    category: "internal",
    when: "The thread that runs the machine ended or threw an error that nobody expected.",
    message: ({ reason }) => `The machine thread failed: ${reason}`,
  }),
});
