import type { MemorySupports } from "./memory-provider.ts";
import { extensionPoint } from "./plugin.ts";

/** Something that keeps a VM from being saved. */
export interface MigrationBlock {
  /** The migration modes that it blocks; others are not blocked by it. */
  readonly modes: readonly string[] | "all";
  /** One sentence for the user: what `query-migrate` lists and `migrate` is refused with. */
  readonly reason: string;
}

/** The VM that a blocker is asked about. */
export interface BlockableMachine {
  /** `-name`. */
  readonly name: string;
  /** The machine type. */
  readonly machine: string;
  readonly memory: readonly { readonly id: string; readonly location: string; readonly supports: MemorySupports }[];
}

/**
 * Says what keeps VMs from being saved and is not one of their devices: storage that another host cannot reach, a tool
 * that records the guest, a backup that is being made. It is asked whenever a migration is judged and for every
 * `query-migrate`, on the main thread.
 */
export interface MigrationBlocker {
  /** The key under `provides`. */
  readonly name: string;
  readonly summary: string;
  /** What blocks now; an empty list if nothing does. It is quick, and changes nothing. */
  blocks(machine: BlockableMachine): readonly MigrationBlock[];
}

export const MigrationBlocker = extensionPoint<MigrationBlocker>("migration-blocker");
