import type { Backend, Execution } from "./backend.ts";
import type { BlockDevice, BlockDeviceOptions } from "./block-driver.ts";
import type { Bus } from "./bus.ts";
import type { CharacterDevice } from "./character-device.ts";
import type { Timers, VirtualClock } from "./clock.ts";
import type { Device, DeviceModel, MachineRequest } from "./device.ts";
import type { GuestMemory } from "./guest-memory.ts";
import type { NetworkLink, NetworkOptions } from "./network-backend.ts";
import { extensionPoint } from "./plugin.ts";
import type { SleepDepth } from "./sleep-control.ts";

/** A device that the user added: `-device MODEL,id=ID,NAME=VALUE,…`. */
export interface DeviceOptions {
  readonly model: string;
  /** The device's id in the machine, unique among all. One that the user did not name is given by the order of the options. */
  readonly id: string;
  /** What follows, as it was written; the model reads and checks it. */
  readonly properties: Readonly<Record<string, string>>;
}

/** What the user asked for: plain data, it crosses to the machine thread. */
export interface MachineOptions {
  /** `-machine`. */
  readonly machine: string;
  /** `-accel`; undefined means the best that works here. */
  readonly backend: string;
  /** `-cpu`. */
  readonly processorModel: string;
  /** `-smp`. */
  readonly processorCount: number;
  /** `-cpu …,tsc-frequency=HZ`: of the guest's time-stamp counter, until a state is restored that says another one. */
  readonly tscFrequency: number;
  /** `-kernel`: path of a bzImage or ELF file. */
  readonly kernel?: string;
  /** `-initrd`. */
  readonly initrd?: string;
  /** `-append`. */
  readonly commandLine?: string;
  /** Ids of character devices for the serial ports, `com1` first. */
  readonly serial: readonly string[];
  /** `-device`, and what other options mean by one, in the order of the command line. A bus comes before what is plugged into it. */
  readonly devices?: readonly DeviceOptions[];
  /** `-blockdev` and `-drive`: the disks that devices may have. */
  readonly blockDevices?: readonly BlockDeviceOptions[];
  /** `-netdev`, in the order of the command line. */
  readonly networks?: readonly NetworkOptions[];
  /** `-no-reboot`: a guest's reset ends the VM. */
  readonly noReboot?: boolean;
  /** RAM is taken over from a checkpoint, so nothing is loaded into it. */
  readonly incoming: boolean;
  /** `-uuid`. */
  readonly uuid?: string;
}

/** What a board may use to build a machine. */
export interface MachineContext {
  readonly options: MachineOptions;
  readonly backend: Backend;
  readonly execution: Execution;
  readonly memory: GuestMemory;
  readonly bus: Bus;
  readonly clock: VirtualClock;
  readonly timers: Timers;
  /** The host's side of a character device, for the device of that id alone. @throws {CprError} if there is none, or another device has it. */
  characterDevice(id: string, user: string): CharacterDevice;
  /**
   * Gives a disk to a device.
   *
   * @param user - the device's id.
   * @throws {CprError} ERR_CPR_BLOCK_DEVICE if there is no such disk, or another device has it.
   */
  blockDevice(id: string, user: string): BlockDevice;
  /** The network with that id, for the device of that id alone. @throws {CprError} if there is none, or another device has it. */
  network(id: string, device: string): NetworkLink;
  /** The device model of that name. @throws {CprError} if no plugin provides it. */
  deviceModel(name: string): DeviceModel;
  request(request: MachineRequest): void;
  /** Tells the user that the driver of a device has broken a rule; see {@link DeviceContext.needsReset}. */
  needsReset(device: string, reason: string): void;
}

/** A built machine, stopped. */
export interface Machine {
  /** All devices in the order in which they are reset, saved and restored. */
  readonly devices: readonly Device[];
  /**
   * Puts what the guest starts from into RAM and the boot vCPU: called after every reset of the machine, and not for
   * an incoming one.
   *
   * @throws {CprError} if the kernel or initrd cannot be read or does not fit.
   */
  loadBoot(): Promise<void>;
  /** Presses the power button (ACPI 6.5 §4.8.3.1). */
  powerDown(): void;
  /** How deep the machine sleeps, while it does. */
  readonly sleepDepth: SleepDepth;
  /**
   * Puts the guest to where it wakes from a sleep in which only RAM was kept (ACPI 6.5 §16.3.1). Called after a reset of everything
   * else, in place of {@link loadBoot}.
   *
   * @returns why it cannot wake: one sentence, or undefined if it can.
   */
  wakeFromMemory(): Promise<string | undefined>;
}

/** A machine type: which devices there are, where, and how they are wired. */
export interface MachineModel {
  /** Name for `-machine`; the key under `provides`. */
  readonly name: string;
  /** Checks the options before anything is opened or allocated, e.g. that the kernel exists and fits in RAM. */
  check(options: MachineOptions, ramSize: number): Promise<void>;
  build(context: MachineContext): Promise<Machine>;
}

export const MachineModel = extensionPoint<MachineModel>("machine");
