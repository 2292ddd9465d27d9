import { setTimeout as delay } from "node:timers/promises";
import {
  type BlockDeviceOptions,
  type CharacterBackend,
  createVirtualMachine,
  Kernel,
  MachineHost,
  type PluginRecord,
  type VirtualMachine,
  type VirtualMachineConfiguration,
  type VirtualMachineEvent,
} from "../../src/index.ts";
import { fakeManifest } from "./fake-plugin.ts";

/** The record of the plugin in `fake-plugin.ts`. */
export const fakeRecord: PluginRecord = {
  name: "fake-plugin",
  version: "1.0.0",
  description: "A machine for tests.",
  path: "/fake-plugin/package.json",
  module: new URL("./fake-plugin.ts", import.meta.url).href,
  manifest: fakeManifest,
};

export const mebibyte = 1 << 20;

/** A VM for a test, with what it said. */
export interface FakeVirtualMachine {
  readonly machine: VirtualMachine;
  readonly events: VirtualMachineEvent[];
  /** What the guest has printed. */
  output(): string;
}

export interface FakeOptions {
  readonly configuration?: Partial<VirtualMachineConfiguration>;
  /** Path of RAM that outlives the VM; private RAM if undefined. */
  readonly path?: string;
  readonly size?: number;
  /** On a thread of its own, with the built code. */
  readonly thread?: boolean;
  readonly kernel?: string;
  readonly commandLine?: string;
  readonly incoming?: string;
  /** Paths of disks, whose ids are disk0, disk1, … */
  readonly disks?: readonly string[];
  readonly type?: string;
  /** The boot of the host, if it is not the real one. */
  readonly bootId?: string;
}

const fakeDisk = (path: string, index: number): BlockDeviceOptions => ({
  ...{ id: `disk${index}`, driver: "fake", path, readOnly: false, discard: "ignore", locking: true },
  cache: { direct: false, noFlush: false },
});

/** Makes a VM of the fake plugin. */
export async function fakeVirtualMachine(options: FakeOptions = {}): Promise<FakeVirtualMachine> {
  const kernel = new Kernel([fakeRecord]);
  const size = options.size ?? mebibyte;
  const pieces: Uint8Array[] = [];
  const events: VirtualMachineEvent[] = [];
  const machine = await createVirtualMachine(
    kernel,
    {
      name: "test",
      ramSize: size,
      memoryObjects: [
        {
          type: options.type ?? (options.path === undefined ? "memory-backend-ram" : "memory-backend-file"),
          id: "ram0",
          size,
          ...(options.path === undefined ? {} : { "mem-path": options.path, share: true }),
        },
      ],
      machine: {
        machine: "fake",
        processorCount: 1,
        serial: ["serial0"],
        kernel: options.kernel ?? "vmlinuz",
        ...(options.disks === undefined ? {} : { blockDevices: options.disks.map(fakeDisk) }),
        ...(options.commandLine === undefined ? {} : { commandLine: options.commandLine }),
      },
      characterDevices: new Map([["serial0", recorder(pieces)]]),
      ...(options.incoming === undefined ? {} : { incoming: options.incoming }),
      ...options.configuration,
    },
    {
      ...(options.thread === true ? {} : { startMachine: (onEvent) => new MachineHost(kernel, onEvent) }),
      ...(options.bootId === undefined ? {} : { bootId: options.bootId }),
    },
  );
  machine.on((event) => events.push(event));
  return { machine, events, output: () => Buffer.concat(pieces).toString() };
}

/** The host's end of a character device that keeps what the guest writes. */
export function recorder(pieces: Uint8Array[]): CharacterBackend {
  return {
    filename: "recorder",
    write: (bytes) => {
      pieces.push(bytes);
      return undefined;
    },
  };
}

/** Waits until something holds. */
export async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!(await condition())) {
    if (Date.now() > deadline) {
      throw new Error(`${what} did not happen`);
    }
    await delay(2);
  }
}

/** How far the guest has counted. */
export async function instructions(machine: VirtualMachine): Promise<number> {
  return (await machine.queryExecution()).instructions ?? 0;
}

export const type = (machine: VirtualMachine, text: string): void =>
  void machine.input("serial0", new TextEncoder().encode(text));
