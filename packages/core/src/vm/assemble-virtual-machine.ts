import { hostBootId } from "../boot-id.ts";
import { DescriptorRegistry } from "../descriptor-registry.ts";
import { machineErrors } from "../errors/machine-errors.ts";
import type { Kernel } from "../kernel.ts";
import { MachineModel, type MachineOptions } from "../machine.ts";
import type { MemoryObjectOptions } from "../memory-provider.ts";
import { loadAhead } from "../migration/load-ahead.ts";
import { rehearseSave } from "../migration/rehearsal.ts";
import { MigrationBlocker } from "../migration-blocker.ts";
import type { VirtualMachine } from "../virtual-machine.ts";
import type { VirtualMachineConfiguration } from "../virtual-machine-configuration.ts";
import { chooseBackend } from "./choose-backend.ts";
import type { StartedMachine, VirtualMachineEnvironment } from "./create-virtual-machine.ts";
import { GuestRam } from "./guest-ram.ts";
import { HostedVirtualMachine } from "./hosted-virtual-machine.ts";

/** What {@link createVirtualMachine} does. */
export async function assembleVirtualMachine(
  kernel: Kernel,
  configuration: VirtualMachineConfiguration,
  started: StartedMachine,
  { meanwhile, bootId = hostBootId() }: VirtualMachineEnvironment,
): Promise<VirtualMachine> {
  const { incoming } = configuration;
  const { control } = started;
  const object = ramObject(configuration);
  await using opened = new AsyncDisposableStack();
  const { processorCount } = configuration.machine;
  const { backend: wished, processorModel: model, tscFrequency: frequency } = configuration;
  const [{ backend, processorModel, tscFrequency, notice }, machineModel] = await Promise.all([
    chooseBackend(kernel, {
      backend: wished,
      processorModel: model,
      tscFrequency: frequency,
      processorCount,
      incoming: incoming !== undefined,
    }),
    kernel.get(MachineModel, configuration.machine.machine),
  ]);
  const options: MachineOptions = {
    ...configuration.machine,
    backend: backend.name,
    processorModel,
    tscFrequency,
    incoming: incoming !== undefined,
    ...(configuration.uuid === undefined ? {} : { uuid: configuration.uuid }),
  };
  await machineModel.check(options, object.size);
  const ram = await GuestRam.open(kernel, backend, [object], { waiting: incoming !== undefined });
  opened.defer(() => ram.discard());
  const { characterDevices } = configuration;
  const building = control.build({
    options,
    characterDevices: [...characterDevices].map(([id, { opened = true }]) => ({ id, opened })),
    ram: ram.allocation.handle,
    regions: ram.regions,
    reclaim: ram.reclaim,
  });
  meanwhile?.();
  void loadAhead(kernel, incoming !== undefined, ram.pageFunctions);
  const [{ devices, blockDevices }, blockers] = await Promise.all([building, kernel.all(MigrationBlocker)]);
  const machine = new HostedVirtualMachine({
    kernel,
    name: configuration.name,
    uuid: configuration.uuid,
    bootId,
    machine: options.machine,
    backend: backend.name,
    processor: { model: processorModel, count: processorCount },
    notices: notice === undefined ? [] : [notice],
    noReboot: options.noReboot === true,
    incoming: incoming !== undefined,
    control,
    ram,
    devices,
    blockDevices,
    descriptors: configuration.descriptors ?? new DescriptorRegistry(),
    blockers,
    characterDevices,
  });
  started.onEvent = (event) => machine.receive(event);
  for (const event of started.early.splice(0)) machine.receive(event);
  if (configuration.migration !== undefined) {
    machine.settings.configure(configuration.migration);
  }
  const running = new Promise<void>((resolve) => {
    machine.on(({ event }) => {
      if (event === "RESUME") setImmediate(resolve);
    });
  });
  rehearseSave({ kernel, subject: machine, settings: machine.settings, idle: running }).catch(() => undefined);
  if (incoming === undefined) {
    // RAM that was left in place for a checkpoint is about to be overwritten.
    ram.unbind();
    await control.boot();
  }
  opened.move();
  if (incoming !== undefined && configuration.startStopped === true) {
    await machine.stop();
  }
  if (incoming !== undefined && incoming !== "defer") {
    try {
      await machine.migrateIncoming(incoming);
    } catch (error) {
      await machine.quit();
      throw error;
    }
  } else if (incoming === undefined && configuration.startStopped !== true) {
    await machine.cont();
  }
  return machine;
}

/** The memory object that is the RAM. */
function ramObject({ memoryObjects, ramObject: id, ramSize }: VirtualMachineConfiguration): MemoryObjectOptions {
  const known = memoryObjects.map((object) => object.id);
  const duplicate = known.find((each, index) => known.indexOf(each) !== index);
  if (duplicate !== undefined) {
    throw machineErrors.ERR_CPR_MEMORY_DUPLICATE({ id: duplicate });
  }
  if (memoryObjects.length === 0 && id === undefined) {
    return { type: "memory-backend-ram", id: "pc.ram", size: ramSize };
  }
  const object =
    id === undefined && memoryObjects.length === 1 ? memoryObjects[0] : memoryObjects.find((each) => each.id === id);
  if (object === undefined) {
    throw machineErrors.ERR_CPR_MEMORY_OBJECT_MISSING({ id: id ?? "", known });
  }
  if (object.size !== ramSize) {
    throw machineErrors.ERR_CPR_MEMORY_RAM_SIZE({ id: object.id, size: object.size, ramSize });
  }
  return object;
}
