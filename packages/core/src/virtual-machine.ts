import type { RunState } from "./runstate.ts";

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
  readonly downtime?: number;
  readonly ram?: {
    readonly total: number;
    readonly transferred: number;
    readonly remaining: number;
    /** Bytes of RAM that stay in place. */
    readonly inPlace: number;
    readonly zeroPages: number;
    readonly normalPages: number;
  };
  readonly errorDescription?: string;
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
  | { readonly event: "MIGRATION"; readonly status: MigrationStatus };

/** Capabilities and parameters are settings of the migration, by QEMU's names. */
export interface MigrationSettings {
  /** All capabilities by name. */
  capabilities(): ReadonlyMap<string, boolean>;
  /** @throws {CprError} if the name is unknown, not supported here, in conflict, or a migration is under way. */
  setCapability(name: string, on: boolean): void;
  /** All parameters by name, printable. */
  parameters(): ReadonlyMap<string, string | number | boolean>;
  /** @throws {CprError} if the name is unknown or the value is out of range. */
  setParameter(name: string, value: string): void;
}

/** A VM as its monitor sees it. All methods are called on the main thread. */
export interface VirtualMachine {
  readonly name: string;
  readonly uuid: string | undefined;
  /** What the user should know about how the VM was made, one sentence each. */
  readonly notices: readonly string[];
  readonly runState: RunState;
  readonly settings: MigrationSettings;
  /** `stop`. In inmigrate: the VM will not start by itself after the load. */
  stop(): Promise<void>;
  /** `cont`. In inmigrate: the VM starts by itself after the load. */
  cont(): Promise<void>;
  /** `system_reset`. */
  reset(): Promise<void>;
  /** `system_powerdown`. */
  powerDown(): Promise<void>;
  /** `system_wakeup`. */
  wakeUp(): Promise<void>;
  /** Sends input to a character device, e.g. keys to the console. */
  input(characterDevice: string, bytes: Uint8Array): void;
  /**
   * `migrate`. Fulfilled when the migration has started; {@link migrationDone} follows its end. Everything that can
   * be refused is refused before the VM is stopped.
   */
  migrate(uri: string): Promise<void>;
  /** Ends when no migration is under way; never rejects. */
  migrationDone(): Promise<MigrationInformation>;
  migrateCancel(): Promise<void>;
  /** `migrate_incoming`. Fulfilled when the VM is loaded and, if it ran, runs. @throws {CprError} on failure; it can be tried again. */
  migrateIncoming(uri: string): Promise<void>;
  queryMigrate(): MigrationInformation;
  queryMemory(): readonly { id: string; size: number; share: boolean; location: string }[];
  /** Statistics of the machine thread. */
  queryExecution(): Promise<{
    readonly backend: string;
    readonly processors: number;
    readonly instructions: number | undefined;
  }>;
  on(listener: (event: VirtualMachineEvent) => void): void;
  /** Ends the VM: devices closed, RAM unlocked. The guest is not asked. */
  quit(): Promise<void>;
  /** Fulfilled when the VM has ended, by {@link quit} or by the guest. */
  readonly ended: Promise<{ readonly reason: "quit" | "shutdown" | "reset" | "internal-error" }>;
}
