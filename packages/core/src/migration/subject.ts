import type { DescriptorSource } from "../descriptor-registry.ts";
import type { BlockDeviceDescription, DeviceDescription, MachineControl } from "../machine-thread/machine-control.ts";
import type { MigrationBlocker } from "../migration-blocker.ts";
import type { RunState } from "../runstate.ts";
import type { SavedRunState } from "../stream/global-state.ts";
import type { GuestRam } from "../vm/guest-ram.ts";

/** What a migration needs of the VM that it moves. */
export interface MigrationSubject {
  readonly name: string;
  readonly control: MachineControl;
  readonly ram: GuestRam;
  readonly descriptors: DescriptorSource;
  readonly devices: readonly DeviceDescription[];
  readonly blockDevices: readonly BlockDeviceDescription[];
  readonly blockers: readonly MigrationBlocker[];
  /** The machine type. */
  readonly machine: string;
  readonly processor: { readonly model: string; readonly count: number };
  readonly uuid: string | undefined;
  /** The boot of the host on which it is. */
  readonly bootId: string;
  readonly runState: RunState;
  /** Whether a migration is under way. */
  readonly migrationActive: boolean;
  /** Stops the VM for the time of an outgoing migration; tells what it was. */
  stopForMigration(): Promise<SavedRunState>;
  /** Makes the VM what it was before {@link stopForMigration}. */
  resumeAfterMigration(before: SavedRunState): Promise<void>;
}
