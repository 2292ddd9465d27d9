import type { ErrorCategory } from "./errors.ts";
import type { MemorySupports } from "./memory-provider.ts";
import { extensionPoint } from "./plugin.ts";
import type { RunState } from "./runstate.ts";
import type { TransportSupports, TransportUri } from "./transport.ts";

/** A refusal, as data, before anything has happened. */
export interface Refusal {
  /** Stable code of the error that is thrown if the user insists. */
  readonly code: string;
  /** One sentence; QEMU's text where QEMU has one. */
  readonly message: string;
  readonly hint?: string;
  /** The category of that error; `refused` if it is not said. */
  readonly category?: ErrorCategory;
}

/** What a checkpoint may be made to outlive. */
export const checkpointPurposes = ["restart", "reboot"] as const;

/**
 * What a checkpoint is made for, and so what has to be found again by who loads it: `restart` of the VM's process, or a
 * `reboot` of the host, into the same kernel or another one.
 */
export type CheckpointPurpose = (typeof checkpointPurposes)[number];

/** What a mode is asked to judge. */
export interface MigrationPlan {
  readonly uri: TransportUri;
  readonly transport: TransportSupports;
  /** All transports that are installed, e.g. to tell which ones would do. */
  readonly transports: readonly { readonly scheme: string; readonly supports: TransportSupports }[];
  readonly capabilities: ReadonlySet<string>;
  /** Pages of RAM are to bypass the host's page cache, where they have channels of their own. */
  readonly directIo: boolean;
  /** What the checkpoint is made for; on the incoming side, what the next one would be. */
  readonly purpose: CheckpointPurpose;
  readonly runState: RunState;
  readonly memory: readonly { readonly id: string; readonly location: string; readonly supports: MemorySupports }[];
}

/** A way to move a VM: what it demands, what it does to the source. */
export interface MigrationMode {
  /** The value of the `mode` parameter; the key under `provides`. */
  readonly name: string;
  readonly summary: string;
  /** Every reason why the outgoing side must not start, computed from what the parts state about themselves. */
  judgeOutgoing(plan: MigrationPlan): readonly Refusal[];
  /** The same for the incoming side. */
  judgeIncoming(plan: MigrationPlan): readonly Refusal[];
  /** Whether RAM with these properties is found again by the incoming side and so can stay in place. */
  keepsInPlace(supports: MemorySupports): boolean;
}

export const MigrationMode = extensionPoint<MigrationMode>("migration-mode");
