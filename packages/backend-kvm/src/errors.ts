import { defineError, defineErrors } from "@cpr/core";

/** Errors of the execution backend `kvm`. */
export const kvmErrors = defineErrors({
  ERR_CPR_KVM_UNAVAILABLE: defineError<{ reason: string; remedy?: string | undefined }>({
    category: "host",
    when: "KVM is used although it does not work on this host.",
    message: ({ reason }) => `KVM cannot be used: ${reason}`,
    hint: ({ remedy }) => remedy ?? "`cpr run -accel interp` needs no KVM.",
  }),
  ERR_CPR_KVM_IOCTL: defineError<{ request: string; section: string; errno: string; description: string }>({
    category: "host",
    when: "The kernel refused a request that KVM's documentation allows.",
    message: ({ request, errno, description }) => `${request} failed: ${errno}: ${description}`,
    hint: ({ section }) =>
      `Documentation/virt/kvm/api.rst, ${section}, says what this error means; the kernel's log may say more.`,
  }),
  ERR_CPR_KVM_RAM: defineError<{ size: number; limit: number }>({
    category: "input",
    when: "A VM is asked for with more RAM than a CPU model can address.",
    message: ({ size, limit }) => `KVM gives a guest at most ${limit} bytes of RAM; ${size} were asked for`,
  }),
  ERR_CPR_KVM_ALLOCATE: defineError<{ size: number; reason: string }>({
    category: "host",
    when: "The host has no address space for the guest's RAM.",
    message: ({ size, reason }) => `Could not reserve ${size} bytes of address space for RAM: ${reason}`,
  }),
  ERR_CPR_KVM_STATE: defineError<{ problem: string }>({
    category: "checkpoint",
    when: "The state of a vCPU or local APIC is impossible, or needs what this host's KVM lacks.",
    message: ({ problem }) => `KVM cannot take this state: ${problem}`,
  }),
});
