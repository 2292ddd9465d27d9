import {
  type ApicBus,
  type Device,
  type ExternalInterrupts,
  type GeneralEvents,
  type GenerationIdentifier,
  type InterruptController,
  type InterruptLine,
  type LocalApic,
  layOutRam,
  type Machine,
  type MachineContext,
  type MachineModel,
  type MachineOptions,
  type PowerButton,
  type SleepControl,
  type SleepDepth,
} from "@cpr/core";
import { buildAcpiTables } from "./acpi/tables.ts";
import { readWakingVector, wakeInRealMode } from "./acpi/waking-vector.ts";
import { createAddedDevices, needsPci } from "./added-devices.ts";
import { type EndOfInterruptTarget, PcApicBus } from "./apic-bus.ts";
import { BackendApicBus, backendLocalApic } from "./backend-local-apics.ts";
import { initrdSize, readInitrd, readKernel } from "./boot-files.ts";
import { machineErrors } from "./errors.ts";
import { InterruptLines } from "./interrupt-lines.ts";
import {
  apicAddress,
  delayPort,
  facsAddress,
  facsSize,
  generationIdentifier,
  interrupts,
  minimumRam,
  pciBus,
  powerPort,
  serialPorts,
} from "./layout.ts";

const randomSeedSize = 32;
const bootLoader = () => import("./boot-loader.ts");
/** An IOAPIC's id has four bits. */
const highestIoapicId = 15;

/**
 * The machine type `pc`: the least PC that Linux is happy with. Interrupt controllers, timers, clock and keyboard
 * controller of a PC/AT, up to four serial ports, ACPI fixed hardware; a PCI bus if a device needs one; no video, no firmware: the
 * kernel is loaded directly.
 */
export class PcMachineModel implements MachineModel {
  readonly name = "pc";

  async check(options: MachineOptions, ramSize: number): Promise<void> {
    if (ramSize < minimumRam) {
      throw machineErrors.ERR_CPR_MACHINE_RAM({ size: ramSize, minimum: minimumRam });
    }
    if (options.serial.length > serialPorts.length) {
      throw machineErrors.ERR_CPR_SERIAL_COUNT({ count: options.serial.length, limit: serialPorts.length });
    }
    if (options.incoming) {
      // What it was booted from may be gone by now; only a reset of the guest will need it.
      return;
    }
    const [{ path, bytes }, { checkLinux, memoryMap, parseKernel }] = await Promise.all([
      readKernel(options),
      bootLoader(),
    ]);
    checkLinux(parseKernel(bytes, path), {
      kernelPath: path,
      initrdSize: await initrdSize(options),
      commandLine: options.commandLine ?? "",
      memoryMap: memoryMap(layOutRam(ramSize)),
    });
  }

  async build(context: MachineContext): Promise<Machine> {
    return new PcMachine(context);
  }
}

class PcMachine implements Machine {
  readonly devices: readonly Device[];
  readonly #context: MachineContext;
  readonly #power: PowerButton & SleepControl;
  readonly #ioapicId: number;
  readonly #generation: GenerationIdentifier | undefined;

  constructor(context: MachineContext) {
    const { options, execution, bus } = context;
    this.#context = context;
    this.#ioapicId = Math.min(options.processorCount, highestIoapicId);
    const { localApics } = execution;
    const boardBus = new PcApicBus();
    const apicBus = localApics === undefined ? boardBus : new BackendApicBus(localApics);
    const unwired = (number: number): InterruptLine => {
      throw new RangeError(`an interrupt controller has no use for interrupt line ${number}`);
    };
    bus.ports.claim("delay-port", delayPort, 1, { read: () => 0xff, write: () => undefined, ignoresWrites: true });

    const pic = this.#create("pic-8259", "pic", {}, unwired);
    const picInputs = requirePart<InterruptController>(pic, "pic-8259", "input");
    const external = requirePart<ExternalInterrupts>(pic, "pic-8259", "requested", "acknowledge");
    const ioapic = this.#create(
      "ioapic",
      "ioapic",
      { apicBus, apicId: this.#ioapicId, address: apicAddress.io },
      unwired,
    );
    const ioapicInputs = requirePart<InterruptController & EndOfInterruptTarget>(
      ioapic,
      "ioapic",
      "input",
      "endOfInterrupt",
    );
    let apics: readonly Device[];
    if (localApics === undefined) {
      boardBus.attachIoapic(ioapicInputs);
      apics = this.#createLocalApics(boardBus, external, unwired);
    } else {
      localApics.onEndOfInterrupt = (vector) => ioapicInputs.endOfInterrupt(vector);
      localApics.connectExternal(external);
      apics = Array.from({ length: options.processorCount }, (_, index) =>
        backendLocalApic(localApicId(index), localApics, index),
      );
    }

    const lines = new InterruptLines(picInputs, ioapicInputs);
    const connect = (number: number): InterruptLine => lines.connect(number);
    const power = this.#create(
      "acpi-power",
      "acpi-power",
      { port: powerPort.events, irq: interrupts.systemControl },
      connect,
    );
    this.#power = requirePart<PowerButton & SleepControl>(power, "acpi-power", "pressPowerButton", "noteWake");
    const events = requirePart<GeneralEvents>(power, "acpi-power", "raiseGeneralEvent");
    const added = this.#createAdded(apicBus, events, connect);
    const generation = added.find(({ id }) => id === this.#idOf("vmgenid"));
    this.#generation =
      generation === undefined ? undefined : requirePart<GenerationIdentifier>(generation, "vmgenid", "publish");
    this.devices = [
      pic,
      ioapic,
      ...apics,
      this.#create("pit-8254", "pit", { irq: interrupts.timer }, connect),
      this.#create("cmos-rtc", "rtc", { irq: interrupts.clock }, connect),
      this.#create("i8042", "i8042", { irq: interrupts.keyboard }, connect),
      power,
      this.#create("reset-control", "reset-control", {}, connect),
      ...serialPorts
        .slice(0, options.serial.length)
        .map(({ id, port, irq }, index) =>
          this.#create("uart-16550", id, { port, irq, characterDevice: options.serial[index] }, connect),
        ),
      ...added,
    ];
  }

  async loadBoot(): Promise<void> {
    const { options, memory, execution } = this.#context;
    const acpi = buildAcpiTables({
      processorCount: options.processorCount,
      serialCount: options.serial.length,
      ioapicId: this.#ioapicId,
      panicPort: this.#idOf("pvpanic") !== undefined,
      generationIdentifier: this.#generation !== undefined,
      pciBus: needsPci(options.devices ?? [], this.#context.deviceModel),
    });
    const [{ path, bytes }, { loadLinux, memoryMap }] = await Promise.all([readKernel(options), bootLoader()]);
    const state = await loadLinux({
      memory,
      kernel: bytes,
      kernelPath: path,
      initrd: await readInitrd(options),
      commandLine: options.commandLine ?? "",
      acpiRootPointer: acpi.rootPointer,
      memoryMap: memoryMap(memory.regions),
      randomSeed: crypto.getRandomValues(new Uint8Array(randomSeedSize)),
      processor: execution.saveProcessor(0),
    });
    memory.slice(acpi.address, acpi.bytes.length).set(acpi.bytes);
    this.#generation?.publish();
    execution.restoreProcessor(0, state);
  }

  powerDown(): void {
    this.#power.pressPowerButton();
  }

  get sleepDepth(): SleepDepth {
    return this.#power.sleepDepth;
  }

  async wakeFromMemory(): Promise<string | undefined> {
    const { execution, memory } = this.#context;
    const vector = readWakingVector(memory.slice(facsAddress, facsSize), memory.regions[0]?.size ?? 0);
    if ("problem" in vector) {
      return vector.problem;
    }
    const reset = execution.saveProcessor(0);
    const { mode, address } = vector;
    const awake =
      mode === "real" ? wakeInRealMode(reset, address) : (await bootLoader()).protectedModeEntry(reset, address);
    execution.restoreProcessor(0, awake);
    this.#power.noteWake();
    return undefined;
  }

  /** Makes the devices that the user added. */
  #createAdded(
    apicBus: ApicBus,
    generalEvents: GeneralEvents,
    connect: (number: number) => InterruptLine,
  ): readonly Device[] {
    const { options, deviceModel } = this.#context;
    return createAddedDevices(options.devices ?? [], {
      deviceModel,
      create: (model, id, properties) => this.#create(model, id, properties, connect),
      createPciHost: () => this.#create("pci-host", "pci", { apicBus, ...pciBus }, connect),
      wiring: (model) => (model === "vmgenid" ? { ...generationIdentifier, generalEvents } : {}),
    });
  }

  /** The device that the user added of a model that there is one place for. */
  #idOf(model: string): string | undefined {
    return this.#context.options.devices?.find((each) => each.model === model)?.id;
  }

  #create(
    model: string,
    id: string,
    properties: Readonly<Record<string, unknown>>,
    interrupt: (number: number) => InterruptLine,
  ): Device {
    const { bus, memory, clock, timers } = this.#context;
    return this.#context.deviceModel(model).create({
      id,
      bus,
      memory,
      clock,
      timers,
      properties,
      interrupt,
      request: (request) => this.#context.request(request),
      needsReset: (reason) => this.#context.needsReset(id, reason),
      characterDevice: (name) => this.#context.characterDevice(name, id),
      blockDevice: (name) => this.#context.blockDevice(name, id),
      network: (name) => this.#context.network(name, id),
    });
  }

  /** Local APICs as devices of the board, each attached to its vCPU. */
  #createLocalApics(
    apicBus: PcApicBus,
    external: ExternalInterrupts,
    connect: (number: number) => InterruptLine,
  ): readonly Device[] {
    const { options, execution } = this.#context;
    const apics = Array.from({ length: options.processorCount }, (_, index) => {
      const properties = { index, apicBus, ...(index === 0 ? { external } : {}) };
      const device = this.#create("local-apic", localApicId(index), properties, connect);
      const apic = requirePart<LocalApic>(device, "local-apic", "receive", "matches", "readRegister", "writeRegister");
      apicBus.attachLocalApic(apic);
      execution.attachInterrupts(index, apic);
      return { device, apic };
    });
    this.#claimLocalApics(apics.map(({ apic }) => apic));
    return apics.map(({ device }) => device);
  }

  /** Every vCPU has its own local APIC at the same address, so the board looks whose turn it is. */
  #claimLocalApics(apics: readonly LocalApic[]): void {
    const { bus, execution } = this.#context;
    const current = (): LocalApic | undefined => apics[execution.currentProcessor?.() ?? 0];
    const wordMask = 3;
    bus.mmio.claim("local-apic", apicAddress.local, apicAddress.size, {
      read: (offset, size) => {
        const value = current()?.readRegister(offset & ~wordMask) ?? 0xffff_ffff;
        const shifted = value >>> (8 * (offset & wordMask));
        return size === 4 ? shifted : shifted & (2 ** (8 * size) - 1);
      },
      // Registers are written as aligned double words (Intel SDM Vol. 3A §11.4.1); anything else has no effect.
      write: (offset, size, value) => {
        if (size === 4 && (offset & wordMask) === 0) current()?.writeRegister(offset, value);
      },
    });
  }
}

/** The id that a vCPU's local APIC has in the stream, whoever emulates it. */
function localApicId(index: number): string {
  return `local-apic-${index}`;
}

/** A device as what the board needs of it beside {@link Device}. */
function requirePart<T>(device: Device, model: string, ...methods: readonly (keyof T & string)[]): T {
  for (const method of methods) {
    if (typeof (device as unknown as Record<string, unknown>)[method] !== "function") {
      throw machineErrors.ERR_CPR_DEVICE_CONTRACT({ model, method });
    }
  }
  return device as unknown as T;
}
