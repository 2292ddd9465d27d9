import type { RamAlignment } from "./guest-memory.ts";
import { extensionPoint } from "./plugin.ts";

/** What holds for a piece of RAM, as data: modes decide from this whether it can stay in place. */
export interface MemorySupports {
  /** Stores are seen by other processes that map the same object. */
  readonly shared: boolean;
  /** The contents can be found again, by name, after the process is gone. */
  readonly survivesProcessExit: boolean;
  /** The contents can be found again after the host's kernel was replaced. */
  readonly survivesReboot: boolean;
}

/** The properties of a `-object memory-backend-…`, as QEMU names them, checked and with sizes in bytes. */
export interface MemoryObjectOptions {
  /** `memory-backend-ram`, `memory-backend-memfd`, `memory-backend-shm` or `memory-backend-file`. */
  readonly type: string;
  readonly id: string;
  readonly size: number;
  readonly share?: boolean;
  readonly "mem-path"?: string;
  readonly align?: number;
  readonly prealloc?: boolean;
  readonly hugetlb?: boolean;
  readonly hugetlbsize?: number;
  readonly pmem?: boolean;
  readonly readonly?: boolean;
}

/** Functions that are faster than what Node offers, for who copies RAM. */
export interface PageFunctions {
  /** The CRC-32 of what came before and of some bytes. */
  crc32(bytes: Uint8Array, before: number): number;
  /**
   * The CRC-32 of what came before and of the pages that a bitmap has, in ascending order, each behind its index in one byte.
   *
   * @param bytes - up to 256 pages of 4096 bytes.
   * @param bitmap - a bit for each of them, the lowest first.
   * @param removeZeroPages - pages that are zero are left out, and removed from the bitmap.
   */
  checksumPages(bytes: Uint8Array, bitmap: Uint8Array, before: number, removeZeroPages: boolean): number;
}

/** How pages of RAM go back to the host: plain data, since it is done on the machine's thread. */
export interface MemoryReclaim {
  /** URL of a module that exports {@link ReclaimFunction} as `reclaim`. */
  readonly module: string;
  /** Others see the same bytes, so that pages have to leave the object too. */
  readonly shared: boolean;
}

/**
 * Gives whole pages back to the host, as far as it takes them. They are zero then, or as they were; nothing else changes.
 *
 * @param shared see {@link MemoryReclaim.shared}
 */
export type ReclaimFunction = (pages: Uint8Array, shared: boolean) => void;

/** How an object that several processes can open goes from one VM to another. */
export interface MemoryOwnership {
  /** This opening has the lock. */
  readonly held: boolean;
  /** Takes the lock, unless it is held already. `false` if another VM has it. */
  acquire(): boolean;
  /** Gives the lock up. The mapping stays; nothing may be stored through it until the lock is held again. */
  release(): void;
}

export interface OpenMemoryOptions {
  /**
   * The VM waits for a checkpoint, so it may be opened beside the VM that has the object as its RAM: without the lock then. An
   * object without {@link MemoryBacking.ownership} is refused all the same.
   */
  readonly waiting?: boolean;
}

/** An open piece of RAM. It holds a lock against a second process until it is closed. */
export interface MemoryBacking {
  readonly id: string;
  readonly size: number;
  readonly supports: MemorySupports;
  /** Where it lives, for people: `/dev/shm/ram0`, `memfd`, `anonymous`. */
  readonly location: string;
  /**
   * Identifies the object on the host (`DEVICE:INODE`), or undefined if it has no name. Equal identities mean the
   * same bytes. That of a device stays the same when the host is rebooted, whatever the device is called then.
   */
  readonly identity: string | undefined;
  /** This opening made the object: it is all zero, and no checkpoint belongs to it. */
  readonly created: boolean;
  /**
   * URL of a module that exports {@link PageFunctions}, for who copies this RAM, on any thread. Without it, or if importing it
   * fails, they do with what Node offers.
   */
  readonly pageFunctions?: string;
  /** How pages that the guest has no use for are given back to the host; if undefined, they are kept. */
  readonly reclaim?: MemoryReclaim | undefined;
  /** Where it can be mapped; at any page if it is not given. */
  readonly alignment?: RamAlignment | undefined;
  /** For an object that other processes can open. */
  readonly ownership?: MemoryOwnership;
  /**
   * Maps the object over a part of a {@link RamAllocation}: `target` begins at a page boundary and is `size` bytes
   * long. When it returns, the bytes of `target` are the object's bytes, in place.
   */
  mapInto(target: Uint8Array): void;
  /** Makes the present contents durable as far as the object can be. Guest RAM must not change meanwhile. */
  flush(): Promise<void>;
  /**
   * Byte ranges of the object that may hold other bytes than zero, as [start, end) pairs in ascending order; what
   * the kernel knows never to have been written is left out. While the VM runs they are an estimate.
   */
  dataRanges(): readonly (readonly [number, number])[];
  /**
   * Removes an object with a name that this opening made, if nothing has been stored in it since; called before {@link close} if no
   * guest has run in it.
   */
  readonly discard?: (() => void) | undefined;
  /** Releases the lock and the descriptor. The mapping stays until the process ends. */
  close(): Promise<void>;
}

/** Opens memory objects of one kind. */
export interface MemoryProvider {
  /** `anonymous`, `memfd`, `shm`, `dax`; the key under `provides`. */
  readonly name: string;
  /** The object types that it may serve. */
  readonly objectTypes: readonly string[];
  /** What a piece of RAM of this kind can do at most, whatever its options: for `cpr plugins`. */
  readonly supports: MemorySupports;
  /** Whether this provider serves an object, judged by its type and by what its path is. It opens nothing. */
  accepts(options: MemoryObjectOptions): Promise<boolean>;
  /**
   * Opens or creates the object and locks it.
   *
   * @throws {CprError} if a property is wrong, the size does not fit what is there, or another process has it.
   */
  open(object: MemoryObjectOptions, options?: OpenMemoryOptions): Promise<MemoryBacking>;
}

export const MemoryProvider = extensionPoint<MemoryProvider>("memory-provider");
