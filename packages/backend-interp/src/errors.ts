import { defineError, defineErrors } from "@cpr/core";

/** What can go wrong with the interpreter. */
export const interpreterErrors = defineErrors({
  ERR_CPR_INTERP_RAM: defineError<{ size: number; limit: number }>({
    category: "input",
    when: "A VM's RAM is more than the interpreter can address.",
    message: ({ size, limit }) => `The interpreter can address ${limit} bytes of RAM, not ${size}`,
  }),
  ERR_CPR_INTERP_ALLOCATE: defineError<{ size: number; reason: string }>({
    category: "host",
    when: "The host does not give the address space for a VM's RAM.",
    message: ({ size, reason }) => `Could not reserve ${size} bytes for the RAM of the VM: ${reason}`,
    hint: () => "Give the VM less memory, or raise the limit on address space (ulimit -v).",
  }),
  ERR_CPR_INTERP_MODEL: defineError<{ model: string; known: readonly string[] }>({
    category: "usage",
    when: "There is no CPU model of the name given to `-cpu`, or the interpreter lacks features of it.",
    message: ({ model }) => `unable to find CPU model '${model}'`,
    hint: ({ known }) => `The interpreter has ${known.join(", ")}.`,
  }),
  ERR_CPR_INTERP_PROCESSORS: defineError<{ count: number; limit: number }>({
    category: "usage",
    when: "A VM has more vCPUs than the interpreter can run.",
    message: ({ count, limit }) =>
      `Number of SMP CPUs requested (${count}) exceeds max CPUs supported by the interpreter (${limit})`,
  }),
  ERR_CPR_INTERP_STATE: defineError<{ problem: string }>({
    category: "checkpoint",
    when: "A vCPU's state is impossible, or needs what the interpreter lacks.",
    message: ({ problem }) => `The state of the vCPU cannot be taken over: ${problem}`,
  }),
});
