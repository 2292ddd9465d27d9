import type { DescriptorRegistry } from "./descriptor-registry.ts";
import type { BlockDeviceDescription } from "./machine-thread/machine-control.ts";
import type { CheckpointPurpose, Refusal } from "./migration-mode.ts";
import type { RunState } from "./runstate.ts";
import type { TransportSupports } from "./transport.ts";

/** Status of the last migration, in QEMU's words (QAPI MigrationStatus). */
export type MigrationStatus =
  | "none"
  | "setup"
  | "active"
  | "pre-switchover"
  | "device"
  | "cancelling"
  | "cancelled"
  | "completed"
  | "failed";

/** What `query-migrate` tells. Times in milliseconds, amounts in bytes. */
export interface MigrationInformation {
  readonly status: MigrationStatus;
  readonly mode: string;
  readonly totalTime?: number;
  /** From the beginning until the VM was stopped and RAM began to be written. */
  readonly setupTime?: number;
  readonly downtime?: number;
  readonly ram?: {
    readonly total: number;
    readonly transferred: number;
    readonly remaining: number;
    /** Bytes of RAM that stay in place. */
    readonly inPlace: number;
    readonly zeroPages: number;
    readonly normalPages: number;
    /** How often RAM was gone through: once, since the VM is stopped. QEMU's `dirty-sync-count`. */
    readonly passes: number;
  };
  readonly errorDescription?: string;
  /** The error whose description that is. */
  readonly error?: Error;
  /** What the user should know although it is no error, one line each. */
  readonly notices?: readonly string[];
  readonly blockedReasons: readonly string[];
}

/** What happens to a VM, in the names of QMP's events. */
export type VirtualMachineEvent =
  | { readonly event: "STOP" | "RESUME" | "SUSPEND" | "WAKEUP" | "POWERDOWN" }
  /** `report`: what the guest met, and its registers, if a triple fault is the reason. */
  | { readonly event: "RESET"; readonly guest: boolean; readonly report?: string }
  | { readonly event: "SHUTDOWN"; readonly guest: boolean; readonly reason: string; readonly report?: string }
  | { readonly event: "GUEST_PANICKED"; readonly report: string }
  | { readonly event: "INTERNAL_ERROR"; readonly report: string }
  /** The guest has given up memory, or taken some back: bytes of RAM that it has left. */
  | { readonly event: "BALLOON_CHANGE"; readonly actual: number }
  /** The guest has opened or closed the port that is the device of that id. */
  | { readonly event: "VSERPORT_CHANGE"; readonly id: string; readonly open: boolean }
  /** The host could not carry out a request of the guest to a disk; the guest was told. Many are told once in a while. */
  | {
      readonly event: "BLOCK_IO_ERROR";
      readonly device: string;
      readonly operation: "read" | "write";
      readonly noSpace: boolean;
      readonly reason: string;
      readonly report: string;
    }
  /** The guest's driver of a device has broken a rule: the device does nothing until it resets it. Many are told once in a while. */
  | { readonly event: "DEVICE_NEEDS_RESET"; readonly device: string; readonly reason: string; readonly report: string }
  /** These two only if the capability `events` is on. */
  | { readonly event: "MIGRATION"; readonly status: MigrationStatus }
  | { readonly event: "MIGRATION_PASS"; readonly pass: number };

/** What `migrate` would do with a RAM block. */
export interface RamForecast {
  readonly id: string;
  readonly size: number;
  /** Where it lives, for people. */
  readonly location: string;
  /** What is there is found again after the host's kernel was replaced. */
  readonly survivesReboot: boolean;
  readonly inPlace: boolean;
  /** Why it stays in place or is copied, one sentence. */
  readonly reason: string;
  /** It is shared, but would not be found again and so is copied: worth a line to the user. */
  readonly looksShared: boolean;
  /** Bytes that would be copied at most: pages of zeros among them are left out when it is done. 0 if in place. */
  readonly copied: number;
}

/** What `migrate` would do, and what it would be refused for. Nothing is opened or stopped to find out. */
export interface MigrationForecast {
  readonly uri: string;
  readonly mode: string;
  /** What the checkpoint is made for. */
  readonly purpose: CheckpointPurpose;
  readonly runState: RunState;
  /** The capabilities that are on. */
  readonly capabilities: readonly string[];
  /** The transport that the URI names; undefined if there is none. */
  readonly transport?: { readonly scheme: string; readonly supports: TransportSupports };
  /** Every reason why it would be refused, in the order in which they would be told. */
  readonly refusals: readonly Refusal[];
  /** What blocks a migration in this mode whatever the URI is. */
  readonly blockedReasons: readonly string[];
  readonly ram: readonly RamForecast[];
  /** Bytes of RAM that would be copied at most. */
  readonly copied: number;
  /** Bytes that can be written to the place that the URI names; undefined if nobody knows. */
  readonly free?: number;
  /** What is at that place is found again after the host's kernel was replaced; undefined if nobody knows. */
  readonly survivesReboot?: boolean;
}

/** What one migration has instead of the settings. */
export interface MigrationOverrides {
  /** The migration mode. */
  readonly mode?: string;
  /** The capabilities that are on; all others are off. */
  readonly capabilities?: readonly string[];
}

export interface OutgoingOptions extends MigrationOverrides {
  /** No RAM is copied: it is refused if some would have to be. */
  readonly inPlaceOnly?: boolean;
}

export interface IncomingOptions extends MigrationOverrides {
  /** The VM ends if it cannot be loaded: QMP's `exit-on-error`. If not, it waits and can be told to load again. */
  readonly exitOnError?: boolean;
}

/** Capabilities and parameters are settings of the migration, by QEMU's names. */
export interface MigrationSettings {
  /** All capabilities by name. */
  capabilities(): ReadonlyMap<string, boolean>;
  /** @throws {CprError} if the name is unknown, not supported here, in conflict, or a migration is under way. */
  setCapability(name: string, on: boolean): void;
  /**
   * Sets several as a program asks: all, or none if one cannot be. Conflicts are judged on the result.
   *
   * @throws {CprError} as {@link setCapability}
   */
  setCapabilities(list: readonly { readonly capability: string; readonly state: boolean }[]): void;
  /** All parameters by name, printable. */
  parameters(): ReadonlyMap<string, string | number | boolean>;
  /**
   * Sets a parameter as a person writes it: a size may have a suffix, a bandwidth without one is in MiB/s.
   *
   * @throws {CprError} if the name is unknown or not supported here, the value out of range, or a migration under way.
   */
  setParameter(name: string, value: string): void;
  /**
   * Sets several as a program does, with values of JSON: all, or none if one cannot be. A bandwidth is in bytes/s.
   *
   * @throws {CprError} as {@link setParameter}, or if a value has another type than the parameter.
   */
  setParameters(values: Readonly<Record<string, unknown>>): void;
}

/** How a VM has ended. */
export type VirtualMachineEnd =
  | { readonly reason: "quit" | "shutdown" | "reset" | "internal-error" }
  | { readonly reason: "not-loaded"; readonly error: Error };

/** A VM as its monitor sees it. All methods are called on the main thread. */
export interface VirtualMachine {
  readonly name: string;
  readonly uuid: string | undefined;
  /** What the user should know about how the VM was made, one sentence each. */
  readonly notices: readonly string[];
  readonly runState: RunState;
  readonly settings: MigrationSettings;
  /** The descriptors that were handed over to it, for URIs that name one. */
  readonly descriptors: DescriptorRegistry;
  /** `stop`. In inmigrate: the VM will not start by itself after the load. */
  stop(): Promise<void>;
  /** `cont`. In inmigrate: the VM starts by itself after the load. */
  cont(): Promise<void>;
  /** `system_reset`. */
  reset(): Promise<void>;
  /** `system_powerdown`. */
  powerDown(): Promise<void>;
  /**
   * `balloon`: asks the guest to have no more than that many bytes of RAM. It does so when it can.
   *
   * @throws {CprError} ERR_CPR_NO_BALLOON
   */
  setBalloon(target: number): Promise<void>;
  /** `query-balloon`: bytes of RAM that the guest has left. @throws {CprError} ERR_CPR_NO_BALLOON */
  queryBalloon(): Promise<number>;
  /** `set_link`: the guest sees the link of that network or card go down or come up. @throws {CprError} ERR_CPR_NO_LINK */
  setLink(name: string, up: boolean): Promise<void>;
  /** `system_wakeup`. */
  wakeUp(): Promise<void>;
  /**
   * Sends input to a character device, e.g. keys to the console; fulfilled when there is room for more.
   *
   * @throws {CprError} ERR_CPR_CHARACTER_DEVICE
   */
  input(characterDevice: string, bytes: Uint8Array): Promise<void>;
  /**
   * `migrate`. Fulfilled when the migration has started; {@link migrationDone} follows its end. Everything that can
   * be refused is refused before the VM is stopped.
   */
  migrate(uri: string, options?: OutgoingOptions): Promise<void>;
  /** Ends when no migration is under way; never rejects. */
  migrationDone(): Promise<MigrationInformation>;
  migrateCancel(): Promise<void>;
  /**
   * `migrate-continue`: lets a migration go on that waits in `pre-switchover`.
   *
   * @param state - the status in which the caller thinks that it is.
   * @throws {CprError} ERR_CPR_NOT_EXPECTED_STATE if it is in another one.
   */
  migrateContinue(state: MigrationStatus): Promise<void>;
  /** What {@link migrate} would do with this URI and the present settings. The guest may run meanwhile. */
  planMigration(uri: string): Promise<MigrationForecast>;
  /**
   * `migrate_incoming`. Fulfilled when the VM is loaded and, if it ran, runs.
   *
   * @throws {CprError} on failure. It can be tried again, unless the VM was to end then.
   */
  migrateIncoming(uri: string, options?: IncomingOptions): Promise<void>;
  queryMigrate(): MigrationInformation;
  queryMemory(): readonly { id: string; size: number; share: boolean; prealloc: boolean; location: string }[];
  /** The disks. */
  queryBlock(): Promise<readonly (BlockDeviceDescription & { readonly actualSize: number | undefined })[]>;
  /** The character devices: what is at the host's end in QEMU's words, and whether the guest listens. */
  queryCharacterDevices(): readonly { readonly id: string; readonly filename: string; readonly listening: boolean }[];
  /** Statistics of the machine thread. */
  queryExecution(): Promise<{
    readonly backend: string;
    readonly processors: number;
    readonly instructions: number | undefined;
  }>;
  on(listener: (event: VirtualMachineEvent) => void): void;
  /**
   * Ends the VM: devices closed, RAM unlocked. The guest is not asked.
   *
   * @param reason - what the event SHUTDOWN tells: a command, which is the default, or a signal to the process.
   */
  quit(reason?: "host-qmp-quit" | "host-signal"): Promise<void>;
  /** Fulfilled when the VM has ended: by {@link quit}, by the guest, or because it could not be loaded. */
  readonly ended: Promise<VirtualMachineEnd>;
}
