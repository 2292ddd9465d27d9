import { getSystemErrorMessage, getSystemErrorName } from "node:util";
import { describeProcessor, type ExecutionEvent, type ProcessorState } from "@cpr/core";
import { exitReason, type RunPage } from "./run-page.ts";

/** Kinds of KVM_EXIT_INTERNAL_ERROR (Linux include/uapi/linux/kvm.h). */
const internalErrors: Readonly<Record<number, string>> = {
  1: "the kernel cannot emulate an instruction of the guest",
  2: "an exception came while another one was being delivered",
  3: "an exit came while an event was being delivered",
  4: "the processor left the guest for a reason that the kernel does not know",
};

/** What a vCPU that cannot go on has met, or undefined if the exit is none of a failure. */
export function failureOf(
  outcome: number,
  run: RunPage,
): (Pick<ExecutionEvent, "kind"> & { readonly reason: string }) | undefined {
  if (outcome < 0) {
    const reason = `KVM_RUN failed: ${getSystemErrorName(outcome)}: ${getSystemErrorMessage(outcome)}`;
    return { kind: "internal-error", reason };
  }
  switch (run.exitReason) {
    case exitReason.shutdown:
      return { kind: "triple-fault", reason: "The guest has triple faulted" };
    case exitReason.internalError: {
      const { kind, data } = run.internalError;
      const what = internalErrors[kind] ?? `suberror ${kind}`;
      const numbers = data.map((value) => `0x${value.toString(16)}`).join(" ");
      return { kind: "internal-error", reason: `KVM internal error: ${what}${numbers === "" ? "" : ` (${numbers})`}` };
    }
    case exitReason.failEntry:
      return {
        kind: "internal-error",
        reason: `KVM: entry failed, hardware error 0x${run.hardwareReason.toString(16)}`,
      };
    case exitReason.unknown:
      return {
        kind: "internal-error",
        reason: `KVM: unknown exit, hardware reason 0x${run.hardwareReason.toString(16)}`,
      };
    case exitReason.io:
    case exitReason.mmio:
    case exitReason.irqWindowOpen:
    case exitReason.interrupted:
    case exitReason.ioapicEoi:
      return undefined;
    default:
      return { kind: "internal-error", reason: `KVM: unexpected exit, reason ${run.exitReason}` };
  }
}

/** What is told of a failure: why, and the registers. */
export function failureReport(reason: string, processor: number, state: ProcessorState): string {
  return `${reason} (vCPU ${processor})\n${describeProcessor(state)}`;
}
