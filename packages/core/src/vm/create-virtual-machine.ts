import type { Worker } from "node:worker_threads";
import { Backend } from "../backend.ts";
import { DeviceModel } from "../device.ts";
import type { Kernel } from "../kernel.ts";
import type { MachineControl, MachineEvent, StartMachine } from "../machine-thread/machine-control.ts";
import { MachineThread } from "../machine-thread/machine-thread.ts";
import type { MachineThreadData } from "../machine-thread/remote-machine.ts";
import type { VirtualMachine } from "../virtual-machine.ts";
import type { VirtualMachineConfiguration } from "../virtual-machine-configuration.ts";

/** Where a VM is to live. */
export interface VirtualMachineEnvironment {
  /** Where the machine runs; on a thread of its own if undefined. */
  readonly startMachine?: StartMachine;
  /** The thread, if it was begun early: see {@link beginMachineThread}. */
  readonly thread?: Worker;
  /** Called when the machine is being built and this thread waits for it: what is loaded now costs no time. */
  readonly meanwhile?: () => void;
  /** The boot of the host that checkpoints are told to be of; see {@link hostBootId}. */
  readonly bootId?: string;
}

/** A machine that nobody listens to yet. */
export interface StartedMachine {
  readonly control: MachineControl;
  /** What it has told so far. */
  readonly early: MachineEvent[];
  /** Where its events go; they are kept at first. */
  onEvent: (event: MachineEvent) => void;
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
  // The machine's thread loads what it needs while this one loads, checks and opens.
  const machine = startMachine(kernel, configuration, environment);
  try {
    // The machine thread imports this package too and has no use for the control plane: it loads when it is needed.
    const { assembleVirtualMachine } = await import("./assemble-virtual-machine.ts");
    return await assembleVirtualMachine(kernel, configuration, machine, environment);
  } catch (error) {
    await machine.control.close();
    throw error;
  }
}

function startMachine(
  kernel: Kernel,
  configuration: VirtualMachineConfiguration,
  environment: VirtualMachineEnvironment,
): StartedMachine {
  const onEvent = (event: MachineEvent): void => machine.onEvent(event);
  const control =
    environment.startMachine?.(onEvent) ??
    new MachineThread(
      { plugins: kernel.plugins, preload: neededAtOnce(kernel, configuration) },
      onEvent,
      environment.thread,
    );
  const early: MachineEvent[] = [];
  const machine: StartedMachine = { control, early, onEvent: (event) => early.push(event) };
  return machine;
}

/** What the machine thread will load whatever the checks on this one say. */
function neededAtOnce(kernel: Kernel, { backend, machine }: VirtualMachineConfiguration): MachineThreadData["preload"] {
  const [only, ...others] = kernel.keys(Backend);
  const name = backend ?? (others.length === 0 ? only : undefined);
  return [
    ...(name === undefined ? [] : ([["backend", name]] as const)),
    ["machine", machine.machine],
    ...(machine.networks ?? []).map(({ type }) => ["network-backend", type] as const),
    ...kernel.keys(DeviceModel).map((key) => ["device-model", key] as const),
  ];
}
