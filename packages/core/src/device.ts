import type { Balloon } from "./balloon.ts";
import type { BlockDevice } from "./block-driver.ts";
import type { Bus } from "./bus.ts";
import type { CharacterDevice } from "./character-device.ts";
import type { Timers, VirtualClock } from "./clock.ts";
import type { GuestMemory } from "./guest-memory.ts";
import type { InterruptLine } from "./interrupt.ts";
import type { NetworkLink } from "./network-backend.ts";
import { extensionPoint } from "./plugin.ts";
import type { StateSchema } from "./state/schema.ts";

/**
 * What becomes of a device in a checkpoint. There is no default: a device that says nothing would lose its state
 * without anybody noticing.
 */
export type DeviceCheckpoint =
  | {
      readonly kind: "state";
      readonly schema: StateSchema;
      /** The state as the guest can observe it. It changes nothing, and may be called only while the VM is stopped. */
      save(): Readonly<Record<string, unknown>>;
      /**
       * Takes a state that the schema has checked. It is called on a device that was just made or reset.
       *
       * @throws {CprError} if the values contradict each other; the device is then as it was before.
       */
      restore(state: Readonly<Record<string, unknown>>): void;
    }
  | { readonly kind: "stateless" }
  | {
      readonly kind: "blocked";
      /** The migration modes in which the device cannot be saved. */
      readonly modes: readonly string[] | "all";
      /** One sentence; if undefined, QEMU's for a device that cannot be migrated. */
      readonly reason?: string;
    };

/** A file of the host that a device's state depends on and that is no part of a checkpoint, e.g. the image of a disk. */
export interface HostFile {
  /** Unique in the machine, the same in every process that runs it, without a comma; e.g. `disk0`. */
  readonly id: string;
  readonly path: string;
}

/** A device of the machine. The bus calls it through the ranges that it claimed when it was created. */
export interface Device {
  /** Unique in the machine, the same in every process that runs it, e.g. `com1`. */
  readonly id: string;
  /** Puts the device in its power-on state. Timers are disarmed, interrupt lines released. */
  reset(): void;
  readonly checkpoint: DeviceCheckpoint;
  /**
   * Files that must not change from the time when the VM is saved until it is loaded. Size, time of modification and
   * inode are in the checkpoint, and a load with others is refused, unless the user accepts the change. By the end of
   * {@link pause} all that the guest has written is in them.
   */
  readonly hostFiles?: readonly HostFile[];
  /**
   * The buses that the device has, by kind, into which further devices are plugged: what {@link DeviceModel.plugsInto} of
   * their models names. A device that is plugged in gets the bus as its property `bus`.
   */
  readonly buses?: Readonly<Record<string, unknown>>;
  /** It is a balloon, by which the user has the guest give up memory; there is one in a machine at most. */
  readonly balloon?: Balloon;
  /** Called after the vCPUs have stopped: finish what is under way; accept new work, start none. */
  pause?(): Promise<void>;
  /** Called before the vCPUs start. */
  resume?(): void;
  /**
   * Called between {@link DeviceCheckpoint | restore} and {@link resume}, or between {@link pause} and that, when the guest may go on a second
   * time from the state in which it is: elsewhere it went on already, with the same secrets and the same random numbers.
   */
  branched?(): void;
  /** Releases host resources. */
  close?(): void;
}

/** What a device model may use. Each device gets its own. */
export interface DeviceContext {
  readonly id: string;
  readonly bus: Bus;
  readonly memory: GuestMemory;
  readonly clock: VirtualClock;
  readonly timers: Timers;
  /** The interrupt line of an ISA IRQ or global system interrupt. */
  interrupt(number: number): InterruptLine;
  /** Asks something of the machine as a whole. It takes effect after the present instruction. */
  request(request: MachineRequest): void;
  /**
   * Tells the user that the device does nothing until its driver resets it, because the driver has broken a rule: which one. Of one
   * that does so again and again it is told once in a while.
   */
  needsReset(reason: string): void;
  /** The host's side of a character device, by its id. */
  characterDevice(id: string): CharacterDevice;
  /**
   * A disk, by its id; it is this device's then. The machine locks, flushes and closes it.
   *
   * @throws {CprError} ERR_CPR_BLOCK_DEVICE if there is no such disk, or another device has it.
   */
  blockDevice(id: string): BlockDevice;
  /**
   * The network with that id, for this device alone.
   *
   * @throws {CprError} ERR_CPR_NETWORK_NOT_FOUND or ERR_CPR_NETWORK_IN_USE
   */
  network(id: string): NetworkLink;
  /** Properties that the board or the user gave, e.g. `{ port: 0x3f8, irq: 4 }`. */
  readonly properties: Readonly<Record<string, unknown>>;
}

/** What a device can ask of the machine. */
export type MachineRequest = "reset" | "shutdown" | "suspend" | "wakeup" | "guest-panic";

/** Makes devices of one kind. */
export interface DeviceModel {
  /** Name of the model, e.g. `uart-16550`; the key under `provides`. */
  readonly name: string;
  /**
   * The kind of bus that a device of this model is plugged into when a user adds one with `-device`, e.g. `pci`; `board` for
   * one that the machine itself has a place for. Undefined: only the board makes such devices.
   */
  readonly plugsInto?: string;
  /**
   * The properties that a user can give with `-device`, each with what it takes, in a few words. The model reads and checks
   * their values; others are refused. `id`, `bus` and, where the model plugs into `pci`, `addr` need not be named.
   */
  readonly properties?: Readonly<Record<string, string>>;
  /**
   * Makes a device in its power-on state and claims its ranges.
   *
   * @throws {CprError} if a property is missing or wrong.
   */
  create(context: DeviceContext): Device;
}

export const DeviceModel = extensionPoint<DeviceModel>("device-model");
