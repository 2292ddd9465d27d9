import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { stat } from "node:fs/promises";
import {
  type MemoryBacking,
  type MemoryObjectOptions,
  type MemoryProvider,
  type MemorySupports,
  machineErrors,
  memoryErrors,
  type OpenMemoryOptions,
} from "@cpr/core";
import { findLockHolder, MappedMemory, pageSize, reasonOf, tryLock } from "@cpr/native-mman";
import { findDaxDevice } from "./dax-device.ts";

/** How the host is looked at; a test brings its own. */
export interface DaxHost {
  /** Where sysfs is mounted. */
  readonly sysfs: string;
  /** The number of the character device that a path is, or undefined if it is none. */
  deviceNumber(path: string): Promise<{ readonly major: number; readonly minor: number } | undefined>;
}

const linuxHost: DaxHost = {
  sysfs: "/sys",
  async deviceNumber(path) {
    const found = await stat(path).catch(() => undefined);
    return found?.isCharacterDevice() === true ? takeApart(found.rdev) : undefined;
  },
};

/** The inverse of makedev(3). */
export function takeApart(device: number): { major: number; minor: number } {
  const bits = BigInt(device);
  return {
    major: Number(((bits >> 8n) & 0xfffn) | ((bits >> 32n) & 0xffff_f000n)),
    minor: Number((bits & 0xffn) | ((bits >> 12n) & 0xffff_ff00n)),
  };
}

/**
 * RAM on device DAX: `memory-backend-file` whose `mem-path` is a node like `/dev/dax0.0`. What the guest stored is
 * there again after the host was rebooted, if the memory is persistent or set aside from the kernel (`memmap=`).
 *
 * The object may be smaller than the device, but both its size and its address are multiples of the device's
 * alignment.
 */
export class DaxMemoryProvider implements MemoryProvider {
  readonly name = "dax";
  readonly objectTypes = ["memory-backend-file"];
  readonly supports: MemorySupports = { shared: true, survivesProcessExit: true, survivesReboot: true };
  readonly #host: DaxHost;

  constructor(host: DaxHost = linuxHost) {
    this.#host = host;
  }

  async accepts({ type, "mem-path": path }: MemoryObjectOptions): Promise<boolean> {
    return type === "memory-backend-file" && path !== undefined && (await this.#host.deviceNumber(path)) !== undefined;
  }

  /**
   * @throws {CprError} ERR_CPR_NATIVE_UNAVAILABLE, ERR_CPR_MEMORY_SIZE, ERR_CPR_MEMORY_PROPERTY, ERR_CPR_MEMORY_KIND,
   * ERR_CPR_MEMORY_PAGE_SIZE, ERR_CPR_MEMORY_FILE_SIZE, ERR_CPR_MEMORY_OPEN, ERR_CPR_MEMORY_BUSY
   */
  async open(options: MemoryObjectOptions, { waiting = false }: OpenMemoryOptions = {}): Promise<MemoryBacking> {
    const { id, size, type, "mem-path": path = "", prealloc = false, pmem = false } = options;
    if (!Number.isSafeInteger(size) || size <= 0 || size % pageSize() !== 0) {
      throw machineErrors.ERR_CPR_MEMORY_SIZE({ id, size });
    }
    const wrong = (property: string, reason: string) =>
      memoryErrors.ERR_CPR_MEMORY_PROPERTY({ id, type, property, reason });
    if (options.share !== true) {
      throw wrong("share", "must be on: device DAX has no copy-on-write");
    }
    if (options.readonly === true) {
      throw wrong("readonly", "cannot be on: the guest writes to its RAM");
    }
    const number = await this.#host.deviceNumber(path);
    const device = number === undefined ? undefined : await findDaxDevice(this.#host.sysfs, number.major, number.minor);
    if (device === undefined) {
      throw memoryErrors.ERR_CPR_MEMORY_KIND({ path, kind: "no device-DAX node" });
    }
    const alignment = Math.max(device.alignment, options.align ?? 1);
    if (options.align !== undefined && !(options.align > 0 && Number.isInteger(Math.log2(options.align)))) {
      throw wrong("align", "must be a power of two");
    }
    if (size % alignment !== 0) {
      throw memoryErrors.ERR_CPR_MEMORY_PAGE_SIZE({ location: path, size, pageSize: alignment });
    }
    if (size > device.size) {
      throw memoryErrors.ERR_CPR_MEMORY_FILE_SIZE({ path, size, actual: device.size });
    }
    const { descriptor, locked } = openLocked(path, waiting);
    return new MappedMemory({
      id,
      size,
      supports: this.supports,
      location: path,
      identity: number === undefined ? undefined : `char ${number.major}:${number.minor}`,
      created: false,
      descriptor,
      locked,
      visibility: "shared",
      synchronous: pmem,
      prealloc,
      alignment,
      durability: "cache",
    });
  }
}

/** @param waiting - if another VM has the device as its RAM, it is opened without the lock. */
function openLocked(path: string, waiting: boolean): { readonly descriptor: number; readonly locked: boolean } {
  let descriptor: number;
  try {
    descriptor = openSync(path, constants.O_RDWR);
  } catch (cause) {
    throw memoryErrors.ERR_CPR_MEMORY_OPEN({ path, reason: reasonOf(cause) }, { cause });
  }
  const locked = tryLock(descriptor, "exclusive");
  if (!locked && !waiting) {
    const pid = findLockHolder(fstatSync(descriptor));
    closeSync(descriptor);
    throw memoryErrors.ERR_CPR_MEMORY_BUSY({ path, pid });
  }
  return { descriptor, locked };
}
