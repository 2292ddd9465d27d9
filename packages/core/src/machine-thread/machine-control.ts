import type { ExecutionEvent } from "../backend.ts";
import type { BlockDeviceOptions } from "../block-driver.ts";
import type { HostFile, MachineRequest } from "../device.ts";
import type { SerializedError } from "../errors.ts";
import type { RamRegion } from "../guest-memory.ts";
import type { MachineOptions } from "../machine.ts";
import type { MemoryReclaim } from "../memory-provider.ts";
import type { MigrationBlock } from "../migration-blocker.ts";
import type { DeviceSection } from "../stream/description-section.ts";
import type { GuestTime } from "./guest-time.ts";

/** What a machine is built from, on whatever thread. */
export interface MachineBlueprint {
  readonly options: MachineOptions;
  readonly characterDevices: readonly CharacterDeviceDescription[];
  /** What `RamAllocation.handle` gave. */
  readonly ram: unknown;
  readonly regions: readonly RamRegion[];
  /** The parts of RAM whose pages can be given back to the host, and how. */
  readonly reclaim: readonly RamReclaim[];
}

/** A part of RAM whose pages can be given back to the host. */
export interface RamReclaim extends MemoryReclaim {
  /** Where it begins in {@link GuestMemory.bytes}. */
  readonly offset: number;
  readonly size: number;
}

/** A character device that a device of the machine can have. */
export interface CharacterDeviceDescription {
  readonly id: string;
  /** Somebody is at the host's end from the start. */
  readonly opened: boolean;
}

/** A device of the machine as the control plane sees it. */
export interface DeviceDescription {
  readonly id: string;
  readonly checkpoint: "state" | "stateless" | "blocked";
  /** For one that is blocked: in which migration modes, and why. */
  readonly blocked?: MigrationBlock;
  /** Files of the host that its state depends on. */
  readonly hostFiles: readonly HostFile[];
  /** It is to be told when the guest goes on a second time from the same state. */
  readonly noticesBranch?: boolean;
}

/** A disk of the machine as the control plane sees it. */
export interface BlockDeviceDescription extends BlockDeviceOptions {
  readonly size: number;
  /** The id of the device that has it. */
  readonly user: string | undefined;
}

/** A request to a disk that the host could not carry out; the guest was told that it failed. */
export interface BlockFailure {
  /** The disk's. */
  readonly id: string;
  readonly path: string;
  readonly operation: "read" | "write";
  /** There is no room on the host. */
  readonly noSpace: boolean;
  readonly reason: string;
}

/** What was built. */
export interface MachineDescription {
  readonly blockDevices: readonly BlockDeviceDescription[];
  readonly devices: readonly DeviceDescription[];
}

export interface ExecutionStatistics {
  /** Instructions executed so far, if the backend counts them. */
  readonly instructions: number | undefined;
}

/** What a machine tells the control plane, in the order of time. */
export type MachineEvent =
  | { readonly kind: "output"; readonly characterDevice: string; readonly bytes: Uint8Array }
  /** The guest has given up memory, or taken some back: bytes of RAM that it has left. */
  | { readonly kind: "balloon"; readonly actual: number }
  /** The guest listens to a character device by a device of its own, or does not any more. */
  | {
      readonly kind: "listening";
      readonly characterDevice: string;
      readonly device: string;
      readonly listening: boolean;
    }
  /**
   * A device asks for something. Unless it is `wakeup`, the vCPUs do not go on by themselves; the request is told
   * again by every `start` until `reset` or `acknowledge`.
   */
  | { readonly kind: "request"; readonly request: MachineRequest }
  | { readonly kind: "execution"; readonly event: ExecutionEvent }
  /** Told once in a while if there are many. */
  | { readonly kind: "block-failure"; readonly failure: BlockFailure }
  /** A device does nothing until its driver resets it, because of what that did. Told once in a while if it is often. */
  | { readonly kind: "needs-reset"; readonly device: string; readonly reason: string }
  /** The thread is gone, or something failed that nobody waits for. The machine cannot be used any more. */
  | { readonly kind: "failed"; readonly error: SerializedError };

/**
 * A machine as the control plane drives it, whether it runs on a thread of its own or on this one. Calls take effect
 * in their order. Output that the guest has made is told before the answer of {@link pause}.
 */
export interface MachineControl {
  /** Makes vCPUs and devices, stopped and in their power-on state. Called once, first. */
  build(blueprint: MachineBlueprint): Promise<MachineDescription>;
  /** Puts what the guest starts from into RAM and the boot vCPU. */
  boot(): Promise<void>;
  /** @throws {CprError} ERR_CPR_BLOCK_LOCKED, ERR_CPR_BLOCK_MOVED_ON if another VM has a disk or had it; the machine stands still then. */
  start(): Promise<void>;
  /** Fulfilled when no guest instruction executes, no device is at work, and what the guest wrote to disks is durable. */
  pause(): Promise<void>;
  /** Power-on state of everything, then {@link boot}. Only while paused. */
  reset(): Promise<void>;
  /** Forgets a request that was told, without a reset. */
  acknowledge(): Promise<void>;
  /**
   * Makes a guest that sleeps ready to go on with {@link start}: where it was, or where it wants to wake. Only while paused.
   *
   * @returns why it cannot wake and must be reset, one sentence; undefined if it can.
   */
  wakeUp(): Promise<string | undefined>;
  /** Gives up the locks on disks, so that another machine can go on with them; {@link start} takes them again. Only while paused. */
  releaseDisks(): Promise<void>;
  /** Takes the locks again that {@link releaseDisks} gave up. @throws {CprError} ERR_CPR_BLOCK_LOCKED */
  claimDisks(): Promise<void>;
  /** The states of all devices and vCPUs. Only while paused. */
  save(): Promise<readonly DeviceSection[]>;
  /**
   * Decodes and checks the states of all devices and vCPUs; nothing changes yet.
   *
   * @throws {CprError} if one is missing, superfluous or cannot be taken.
   */
  prepareLoad(sections: readonly DeviceSection[]): Promise<void>;
  /**
   * Puts all devices and vCPUs in the states that were prepared. If one refuses, all of them are reset.
   */
  load(guestTime: GuestTime): Promise<void>;
  /** Tells the devices that the guest may go on a second time from the state in which it is. Only while paused. */
  branch(): Promise<void>;
  powerDown(): Promise<void>;
  /** Asks the guest to have no more than that many bytes of RAM. @throws {CprError} ERR_CPR_NO_BALLOON */
  setBalloon(target: number): Promise<void>;
  /** Bytes of RAM that the guest has left. @throws {CprError} ERR_CPR_NO_BALLOON */
  queryBalloon(): Promise<number>;
  /** Plugs the cable of a network, or of the card of that id, in or pulls it out. @throws {CprError} ERR_CPR_NO_LINK */
  setLink(name: string, up: boolean): Promise<void>;
  /** Gives input to a character device; fulfilled when there is room for more. */
  input(characterDevice: string, bytes: Uint8Array): Promise<void>;
  /** Output that was told is not held any more by this side. */
  outputTaken(characterDevice: string, length: number): Promise<void>;
  /** Somebody is at the host's end of a character device now, or not any more. */
  setOpened(characterDevice: string, opened: boolean): Promise<void>;
  statistics(): Promise<ExecutionStatistics>;
  /** Ends the machine. May be called at any time, and twice. */
  close(): Promise<void>;
}

/** Begins the life of a machine somewhere. */
export type StartMachine = (onEvent: (event: MachineEvent) => void) => MachineControl;
