import type { ExecutionEvent } from "../backend.ts";
import type { HostFile, MachineRequest } from "../device.ts";
import type { SerializedError } from "../errors.ts";
import type { RamRegion } from "../guest-memory.ts";
import type { MachineOptions } from "../machine.ts";
import type { MigrationBlock } from "../migration-blocker.ts";
import type { DeviceSection } from "../stream/description-section.ts";
import type { GuestTime } from "./guest-time.ts";

/** What a machine is built from, on whatever thread. */
export interface MachineBlueprint {
  readonly options: MachineOptions;
  /** What `RamAllocation.handle` gave. */
  readonly ram: unknown;
  readonly regions: readonly RamRegion[];
}

/** A device of the machine as the control plane sees it. */
export interface DeviceDescription {
  readonly id: string;
  readonly checkpoint: "state" | "stateless" | "blocked";
  /** For one that is blocked: in which migration modes, and why. */
  readonly blocked?: MigrationBlock;
  /** Files of the host that its state depends on. */
  readonly hostFiles: readonly HostFile[];
}

/** What was built. */
export interface MachineDescription {
  readonly devices: readonly DeviceDescription[];
}

export interface ExecutionStatistics {
  /** Instructions executed so far, if the backend counts them. */
  readonly instructions: number | undefined;
}

/** What a machine tells the control plane, in the order of time. */
export type MachineEvent =
  | { readonly kind: "output"; readonly characterDevice: string; readonly bytes: Uint8Array }
  /**
   * A device asks for something. Unless it is `wakeup`, the vCPUs do not go on by themselves; the request is told
   * again by every `start` until `reset` or `acknowledge`.
   */
  | { readonly kind: "request"; readonly request: MachineRequest }
  | { readonly kind: "execution"; readonly event: ExecutionEvent }
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
  start(): Promise<void>;
  /** Fulfilled when no guest instruction executes and no device is at work. */
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
  powerDown(): Promise<void>;
  input(characterDevice: string, bytes: Uint8Array): Promise<void>;
  statistics(): Promise<ExecutionStatistics>;
  /** Ends the machine. May be called at any time, and twice. */
  close(): Promise<void>;
}

/** Begins the life of a machine somewhere. */
export type StartMachine = (onEvent: (event: MachineEvent) => void) => MachineControl;
