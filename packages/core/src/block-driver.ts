import type { HostFile } from "./device.ts";
import { extensionPoint } from "./plugin.ts";

/** A disk that the user gave the VM, `-blockdev` or `-drive`: plain data, it crosses to the machine thread. */
export interface BlockDeviceOptions {
  /** The node's name, or the drive's id: what `drive=` of a device names. */
  readonly id: string;
  /** The driver, which is the format of what is at {@link path}. */
  readonly driver: string;
  /** The user did not name a format, so that the driver is only what it is without one. */
  readonly assumed?: boolean;
  /** An image or a block device of the host. */
  readonly path: string;
  readonly readOnly: boolean;
  readonly cache: {
    /** Go around the host's page cache (`cache.direct`). */
    readonly direct: boolean;
    /** Nothing is made durable, whatever the guest asks for (`cache.no-flush`, `cache=unsafe`). */
    readonly noFlush: boolean;
  };
  /** `unmap`: room that the guest does not need is given back to the host. */
  readonly discard: "ignore" | "unmap";
  /** `false`: others may have the same image at the same time (`locking=off`). */
  readonly locking: boolean;
}

/** What a disk can do, as data. */
export interface BlockDeviceSupports {
  /** {@link BlockDevice.discard} gives room back; without it, it does nothing. */
  readonly discard: boolean;
  /** {@link BlockDevice.lock} keeps other processes away. */
  readonly locking: boolean;
}

/**
 * An open disk. Requests are carried out by other threads, any number of them at the same time and in any order. Offsets and
 * lengths are bytes, whole logical blocks inside of the disk: others are a programmer's mistake, and rejected with a
 * `RangeError`. Buffers are parts of guest RAM, which stay what they are until the request is fulfilled; none is copied.
 *
 * A request that the host cannot carry out is rejected with an error that has a `code`, as those of Node do.
 */
export interface BlockDevice {
  readonly id: string;
  /** For people and programs: what {@link BlockDeviceOptions.driver} was. */
  readonly driver: string;
  readonly path: string;
  /** Bytes. It does not change while the disk is open. */
  readonly size: number;
  readonly readOnly: boolean;
  /** The least that can be read or written: a power of two, 512 at least. */
  readonly logicalBlockSize: number;
  readonly supports: BlockDeviceSupports;
  /** The file that must be the same when the VM is loaded again; undefined if that cannot be told. */
  readonly hostFile: HostFile | undefined;
  read(offset: number, buffers: readonly Uint8Array[]): Promise<void>;
  write(offset: number, buffers: readonly Uint8Array[]): Promise<void>;
  /** Makes durable what was written by requests that are fulfilled. */
  flush(): Promise<void>;
  /** What is there is not needed any more: afterwards it may be anything, and take no room. */
  discard(offset: number, length: number): Promise<void>;
  /** @param unmap - it need not take room. */
  writeZeroes(offset: number, length: number, unmap: boolean): Promise<void>;
  /**
   * Keeps others from writing to the disk, and from reading it too where this VM writes. A disk is opened without the lock; it
   * may be there already, or be given up by another process at any time.
   *
   * @throws {CprError} ERR_CPR_BLOCK_LOCKED if another one has it.
   */
  lock(): Promise<void>;
  /** Gives {@link lock} up. */
  unlock(): void;
  /** Called when no request is under way. */
  close(): Promise<void>;
}

/** Opens disks of one format. */
export interface BlockDriver {
  /** Name for `driver=` and `format=`; the key under `provides`. */
  readonly name: string;
  /** What a disk of this format can do at most, for `cpr plugins`. */
  readonly supports: BlockDeviceSupports;
  /**
   * Opens a disk, without its lock. Called on the machine thread.
   *
   * @throws {CprError} if it cannot be opened, or not as asked.
   */
  open(options: BlockDeviceOptions): Promise<BlockDevice>;
}

export const BlockDriver = extensionPoint<BlockDriver>("block-driver");
