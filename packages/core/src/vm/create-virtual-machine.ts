import type { Worker } from "node:worker_threads";
import type { Kernel } from "../kernel.ts";
import type { StartMachine } from "../machine-thread/machine-control.ts";
import type { VirtualMachine } from "../virtual-machine.ts";
import type { VirtualMachineConfiguration } from "../virtual-machine-configuration.ts";

/** Where a VM is to live. */
export interface VirtualMachineEnvironment {
  /** Where the machine runs; on a thread of its own if undefined. */
  readonly startMachine?: StartMachine;
  /** The thread, if it was begun early: see {@link beginMachineThread}. */
  readonly thread?: Worker;
}

/**
 * Makes a VM and lets it begin: it runs, or waits in prelaunch (`-S`), or waits for an incoming migration, which is
 * begun if a URI was given.
 *
 * Everything that can be checked is checked before anything is opened; on failure everything that was opened is closed.
 *
 * @throws {CprError} what is wrong with the configuration, the host or the guest's files.
 */
export async function createVirtualMachine(
  kernel: Kernel,
  configuration: VirtualMachineConfiguration,
  environment: VirtualMachineEnvironment = {},
): Promise<VirtualMachine> {
  // The machine thread imports this package too and has no use for the control plane: it loads when it is needed.
  const { assembleVirtualMachine } = await import("./assemble-virtual-machine.ts");
  return assembleVirtualMachine(kernel, configuration, environment);
}
