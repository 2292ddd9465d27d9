import { existsSync, readFileSync } from "node:fs";
import { type GuestProgramNeeds, type ObservingProgram, observingPrograms } from "@cpr/guest-programs";
import { onTestFinished } from "vitest";
import { GuestProgramRun } from "../../../tools/guest-program-run.ts";

/** An execution backend with a CPU model, and the guest programs that it can run on this host. */
export interface ProgramHost {
  readonly name: string;
  /** Undefined: the backend's own. */
  readonly processorModel: string | undefined;
  readonly options: readonly string[];
  readonly programs: readonly ObservingProgram[];
}

/**
 * What a KVM can run that executes a guest by emulating its instructions, as it does on a host whose processor has no
 * virtualization for it: the kernel's emulator delivers no interrupts in protected mode that the guest makes itself, and has
 * neither x87 nor SSE, paging with 32 bits, or data breakpoints.
 */
const emulated: readonly ObservingProgram[] = [
  "self-modifying",
  "string-io64",
  "mmio",
  "apic-timer",
  "pc-clocks",
  "smp-start",
  "high-memory",
];

const hasVirtualization = /^flags\s*:.* (svm|vmx)( |$)/m.test(readFileSync("/proc/cpuinfo", "latin1"));

/** Whether this host's kernel has KVM: then its device must be there and work. */
const kernelHasKvm = existsSync("/sys/class/misc/kvm");
if (!kernelHasKvm)
  console.error("NOTE: this host's kernel has no KVM, so nothing is executed on it outside of the lab.");

/** The backends that guest programs are run on; the lab runs all programs on KVM, see `tools/lab/scenarios/guest-programs.ts`. */
export const programHosts: readonly ProgramHost[] = [
  { name: "interp", processorModel: undefined, options: ["-accel", "interp"], programs: observingPrograms },
  ...(kernelHasKvm
    ? [
        {
          name: "kvm",
          processorModel: "cpr64-v1",
          options: ["-accel", "kvm", "-cpu", "cpr64-v1"],
          programs: hasVirtualization ? observingPrograms : emulated,
        },
      ]
    : []),
];

/** A run of a program that is gone when the test ends. */
export function programRun(name: ObservingProgram, needs?: Partial<GuestProgramNeeds>): GuestProgramRun {
  const run = new GuestProgramRun(name, needs);
  onTestFinished(() => run[Symbol.dispose]());
  return run;
}
