import type { Balloon, HostFile, StateSchema } from "@cpr/core";
import type { Virtqueue } from "./virtqueue.ts";

/** What becomes of the part of a virtio device's state that is its own; its queues and features are the transport's. */
export type VirtioCheckpoint =
  | {
      readonly kind: "state";
      readonly schema: StateSchema;
      /** Changes nothing. Called only while the device is paused: no request is under way. */
      save(): Readonly<Record<string, unknown>>;
      /** @throws {CprError} if the values contradict each other; the device is then as it was before. */
      restore(state: Readonly<Record<string, unknown>>): void;
    }
  | { readonly kind: "stateless" };

/** The driver in the guest, as a device sees it from DRIVER_OK to the next reset. */
export interface VirtioDriver {
  /** The feature bits that both have agreed on (virtio 1.2 §2.2). */
  readonly features: bigint;
  /** All queues of the device, by index; those that the driver does not use are not enabled. */
  readonly queues: readonly Virtqueue[];
}

/** What a device can tell the driver beside what it puts in queues. */
export interface VirtioTransport {
  /** The device-specific configuration has changed (virtio 1.2 §2.5, §4.1.5.3). */
  configurationChanged(): void;
  /** The device is in a state that only a reset mends: DEVICE_NEEDS_RESET is set (virtio 1.2 §2.1.2). */
  needsReset(reason: string): void;
}

/**
 * A virtio device without its transport (virtio 1.2 §2). The transport negotiates features, sets up the queues and saves
 * both; the device does the work that the queues bring.
 */
export interface VirtioDevice {
  /** Virtio device id (virtio 1.2 §5). */
  readonly deviceId: number;
  /** The largest size of each queue, a power of two. */
  readonly queueSizes: readonly number[];
  /** The feature bits 0 to 23 and 50 to 127 that it offers; those of queues and transport are not the device's to offer. */
  readonly features: bigint;
  /** The device-specific configuration space, which the transport reads from as it is. Its length does not change. */
  readonly configuration: Uint8Array;
  readonly checkpoint: VirtioCheckpoint;
  readonly hostFiles?: readonly HostFile[];
  /** It is a balloon. */
  readonly balloon?: Balloon;
  /** The buses that it has, by kind, into which further devices are plugged. */
  readonly buses?: Readonly<Record<string, unknown>>;
  /** Why a driver cannot go on here that has agreed on features which are not offered, in a checkpoint of another device. */
  featureProblem?(features: bigint): string | undefined;
  /** The driver writes to the configuration space; without it, writes have no effect. */
  writeConfiguration?(offset: number, size: 1 | 2 | 4, value: number): void;
  /**
   * The driver is ready (DRIVER_OK), or a state was restored in which it was. Nothing is done with the queues before
   * {@link notify} or {@link resume}.
   */
  start(driver: VirtioDriver): void;
  /** The driver has made buffers available in a queue. Called only between {@link start} and {@link reset}, and not while paused. */
  notify(queue: number): void;
  /** Forgets the driver and its own state. Called only when no request is under way: while the VM stands still, or after {@link pause}. */
  reset(): void;
  /** Ends what is under way and begins nothing new; fulfilled when every chain that was taken is back in its queue. */
  pause?(): Promise<void>;
  /** Goes on. The transport notifies of every enabled queue afterwards. */
  resume?(): void;
  /** Releases host resources. */
  close?(): void;
}
