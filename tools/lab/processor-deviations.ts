import type { ObservingProgram } from "@cpr/guest-programs";

const withErrors = (...names: readonly string[]): string[] => names.flatMap((name) => [name, `${name}.error`]);

/**
 * The records of guest programs that differ in the lab from what a processor observes, whatever the VMM. The lab's processor is
 * emulated by QEMU (TCG), which has no segment limits and types, few exceptions of x87 and SSE, and some flaws; and KVM on AMD's
 * processors keeps four bits of the task priority, halves of the SYSENTER registers, and asks whether a timer is masked when it
 * delivers. All other records must be right.
 */
export const processorDeviations: Readonly<Partial<Record<ObservingProgram, readonly string[]>>> = {
  "real-mode": ["limit_faults"],
  exceptions32: withErrors("beyond_limit", "across_limit", "below_expand_down", "write_read_only", "null_segment"),
  paging32: ["reserved_bit.error"],
  segments32: withErrors("local.beyond"),
  "virtual-8086": ["limit", "limit.at"],
  "long-mode": ["not_canonical_stack", "syscall.flags", ...withErrors("fs.not_canonical")],
  "string-io": ["limit_in.ecx", "limit_in.edi"],
  mmio: ["apic.task_priority", ...withErrors("mapped.read_only"), "mapped.kept"],
  "apic-timer": ["masked.count"],
  x87: [
    ...["remainder1.quotient", "narrowed", "test_empty", "underflow", "underflow.value", "underflow.value.exponent"],
    ...["overflow", "overflow.value", "overflow.value.exponent", "denormal", "waited.kept", "mmx.exponent"],
    ...withErrors("next_operation", "unmasked_later"),
  ],
  sse: [
    ...["propagated", "propagated.high", "denormal", "unmasked.kept", "unmasked.kept.high"],
    ...withErrors("unmasked", "unmasked.conversion", "unmasked.precision"),
    ...withErrors("reserved_bit", "restored.reserved_bit", "not_reported"),
  ],
  debug: ["both.dr6"],
  state: ["sysenter.esp", "sysenter.eip"],
  "state-fpu": ["status", "st0.exponent"],
};
