import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type ApicMessage,
  type BackendLocalApics,
  type Bus,
  type Constructor,
  createBus,
  type DeviceModel,
  defaultTscFrequency,
  type Execution,
  type ExtensionPoint,
  type ExternalInterrupts,
  GuestMemory,
  type LocalApicState,
  layOutRam,
  localApicState,
  type Machine,
  type MachineContext,
  type MachineOptions,
  type MachineRequest,
  type ProcessorInterrupts,
  type ProcessorState,
  processorState,
  struct,
  TimerQueue,
} from "@cpr/core";
import devices from "@cpr/devices/plugin";
import { FakeBlockDevice, ManualClock, RecordingCharacterDevice, RecordingNetworkLink } from "@cpr/testkit/fakes";
import { onTestFinished } from "vitest";
import { PcMachineModel } from "../src/index.ts";

/** All device models that the package @cpr/devices contributes. */
function contributedModels(): DeviceModel[] {
  const models: DeviceModel[] = [];
  devices.setup({
    contribute: <T>(_point: ExtensionPoint<T>, implementation: Constructor<NoInfer<T>>) =>
      models.push(new implementation() as DeviceModel),
  });
  return models;
}

/** vCPUs that execute nothing: what the board does with them is kept for a test to look at. */
class IdleExecution implements Execution {
  readonly interrupts: ProcessorInterrupts[] = [];
  /** The last state that was put into each vCPU. */
  readonly restored = new Map<number, ProcessorState>();
  /** Whose accesses reach the bus. */
  processor = 0;
  readonly localApics?: BackendLocalApics;

  constructor(localApics: BackendLocalApics | undefined) {
    if (localApics !== undefined) this.localApics = localApics;
  }

  attachInterrupts(processor: number, interrupts: ProcessorInterrupts): void {
    this.interrupts[processor] = interrupts;
  }

  start(): void {
    throw new Error("nothing is to be executed here");
  }

  async pause(): Promise<void> {
    // Never started.
  }

  kick(): void {
    // Nothing sleeps.
  }

  saveProcessor(): ProcessorState {
    return struct(processorState).decode(new DataView(new ArrayBuffer(processorState.size)), 0);
  }

  checkProcessor(): void {
    // Takes any.
  }

  restoreProcessor(processor: number, state: ProcessorState): void {
    this.restored.set(processor, state);
  }

  resetProcessor(): void {
    // Nothing to reset.
  }

  currentProcessor(): number {
    return this.processor;
  }

  async close(): Promise<void> {
    // Nothing is held.
  }
}

/** Local APICs of a backend that do nothing but remember. */
export class RecordingLocalApics implements BackendLocalApics {
  readonly sent: ApicMessage[] = [];
  readonly routes = new Map<number, ApicMessage>();
  readonly calls: string[] = [];
  external: ExternalInterrupts | undefined;
  onEndOfInterrupt: (vector: number) => void = () => undefined;

  send(message: ApicMessage): void {
    this.sent.push(message);
  }

  route(pin: number, message: ApicMessage | undefined): void {
    if (message === undefined) this.routes.delete(pin);
    else this.routes.set(pin, message);
  }

  connectExternal(external: ExternalInterrupts): void {
    this.external = external;
  }

  save(processor: number): LocalApicState {
    this.calls.push(`save ${processor}`);
    return struct(localApicState).decode(new DataView(new ArrayBuffer(localApicState.size)), 0);
  }

  restore(processor: number): void {
    this.calls.push(`restore ${processor}`);
  }

  reset(processor: number): void {
    this.calls.push(`reset ${processor}`);
  }
}

export interface TestMachine {
  readonly machine: Machine;
  readonly execution: IdleExecution;
  readonly bus: Bus;
  readonly memory: GuestMemory;
  readonly clock: ManualClock;
  readonly timers: TimerQueue;
  readonly requests: MachineRequest[];
  /** What drivers have broken, each with its device before it. */
  readonly driverFailures: string[];
  readonly characterDevices: ReadonlyMap<string, RecordingCharacterDevice>;
  readonly context: MachineContext;
}

export const defaultOptions: MachineOptions = {
  machine: "pc",
  backend: "idle",
  processorModel: "max",
  processorCount: 1,
  tscFrequency: defaultTscFrequency,
  serial: ["serial0"],
  incoming: false,
};

export interface TestMachineSetup {
  readonly options?: Partial<MachineOptions>;
  readonly ramSize?: number;
  readonly now?: number;
  /** The local APICs are the backend's. */
  readonly localApics?: BackendLocalApics;
  /** Replaces device models of the same name. */
  readonly models?: readonly DeviceModel[];
}

/** Builds the board on vCPUs that execute nothing. */
export async function buildMachine(setup: TestMachineSetup = {}): Promise<TestMachine> {
  const { ramSize = 16 * 2 ** 20, now = 0, localApics, models = [] } = setup;
  const clock = new ManualClock(now);
  const timers = new TimerQueue(clock);
  const bus = createBus();
  const execution = new IdleExecution(localApics);
  const memory = new GuestMemory(new Uint8Array(ramSize), layOutRam(ramSize));
  const requests: MachineRequest[] = [];
  const driverFailures: string[] = [];
  const characterDevices = new Map<string, RecordingCharacterDevice>();
  const networks = new Map<string, RecordingNetworkLink>();
  const known = [...models, ...contributedModels()];
  const context: MachineContext = {
    options: { ...defaultOptions, ...setup.options },
    backend: {
      name: "idle",
      supports: {
        kernelIrqchip: localApics === undefined ? "off" : "split",
        maximumProcessors: 16,
        maximumRam: 2 ** 32,
        dirtyLog: false,
      },
      preference: 0,
      processorModels: ["max"],
      probe: async () => ({ available: true, note: "" }),
      allocateRam: () => ({ bytes: memory.bytes, handle: undefined }),
      adoptRam: () => ({ bytes: memory.bytes, handle: undefined }),
      createExecution: async () => execution,
    },
    execution,
    memory,
    bus,
    clock,
    timers,
    characterDevice: (id) => {
      const device = characterDevices.get(id) ?? new RecordingCharacterDevice();
      characterDevices.set(id, device);
      return device;
    },
    blockDevice: (id) => new FakeBlockDevice({ id }),
    network: (id) => {
      const link = networks.get(id) ?? new RecordingNetworkLink();
      networks.set(id, link);
      return link;
    },
    deviceModel: (name) => {
      const model = known.find((each) => each.name === name);
      if (model === undefined) throw new Error(`no device model '${name}'`);
      return model;
    },
    request: (request) => requests.push(request),
    needsReset: (device, reason) => driverFailures.push(`${device}: ${reason}`),
  };
  const machine = await new PcMachineModel().build(context);
  return { machine, execution, bus, memory, clock, timers, requests, driverFailures, characterDevices, context };
}

/** A folder that is gone after the test. */
export function scratchFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "cpr-machine-pc-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Where the test kernel is loaded and entered. */
export const kernelAddress = 0x20_0000;

/** Writes the least ELF program that can be booted and returns its path. */
export function writeKernel(folder: string): string {
  const code = Uint8Array.of(0xf4, 0xeb, 0xfd);
  const file = new Uint8Array(120 + code.length);
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, 62, true);
  view.setBigUint64(24, BigInt(kernelAddress), true);
  view.setBigUint64(32, 64n, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 1, true);
  view.setUint32(64, 1, true);
  for (const [at, value] of [
    [72, 120],
    [80, kernelAddress],
    [88, kernelAddress],
    [96, code.length],
    [104, 4096],
  ] as const) {
    view.setBigUint64(at, BigInt(value), true);
  }
  file.set(code, 120);
  const path = join(folder, "kernel.elf");
  writeFileSync(path, file);
  return path;
}
