import { constants, openSync } from "node:fs";
import { stat } from "node:fs/promises";
import {
  LinuxHost,
  type MemoryBacking,
  type MemoryObjectOptions,
  type MemoryProvider,
  type MemorySupports,
  machineErrors,
  memoryErrors,
  type OpenMemoryOptions,
} from "@cpr/core";
import { lockObject, MappedMemory, pageSize, reasonOf } from "@cpr/native-mman";
import { type DaxDevice, type DeviceNumber, findDaxDevice } from "./dax-device.ts";

/** How the host is looked at; a test brings its own. */
export interface DaxHost {
  readonly linux: LinuxHost;
  /** The number of the character device that a path is, or undefined if it is none. */
  deviceNumber(path: string): Promise<DeviceNumber | undefined>;
}

const thisHost: DaxHost = {
  linux: new LinuxHost(),
  async deviceNumber(path) {
    const found = await stat(path).catch(() => undefined);
    return found?.isCharacterDevice() === true ? takeApart(found.rdev) : undefined;
  },
};

/** The inverse of makedev(3). */
export function takeApart(device: number): DeviceNumber {
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

  constructor(host: DaxHost = thisHost) {
    this.#host = host;
  }

  async accepts({ type, "mem-path": path }: MemoryObjectOptions): Promise<boolean> {
    return type === "memory-backend-file" && path !== undefined && (await this.#host.deviceNumber(path)) !== undefined;
  }

  /**
   * @throws {CprError} ERR_CPR_NATIVE_UNAVAILABLE, ERR_CPR_MEMORY_SIZE, ERR_CPR_MEMORY_PROPERTY, ERR_CPR_MEMORY_KIND,
   * ERR_CPR_MEMORY_ALIGN, ERR_CPR_MEMORY_PAGE_SIZE, ERR_CPR_MEMORY_FILE_SIZE, ERR_CPR_MEMORY_OPEN, ERR_CPR_MEMORY_BUSY
   */
  async open(options: MemoryObjectOptions, { waiting = false }: OpenMemoryOptions = {}): Promise<MemoryBacking> {
    const { id, size, "mem-path": path = "", prealloc = false, pmem = false, align = 1 } = options;
    if (!Number.isSafeInteger(size) || size <= 0 || size % pageSize() !== 0) {
      throw machineErrors.ERR_CPR_MEMORY_SIZE({ id, size });
    }
    checkProperties(options);
    const device = await this.#find(path);
    checkFit(options, path, device);
    const descriptor = open(path, device.name);
    const locked = lockObject(descriptor, path, "exclusive", waiting);
    return new MappedMemory({
      id,
      size,
      supports: this.supports,
      location: path,
      identity: device.uuid === undefined ? device.name : `nvdimm-${device.uuid}`,
      created: false,
      descriptor,
      locked,
      visibility: "shared",
      synchronous: pmem,
      prealloc,
      alignment: Math.max(device.alignment, align),
      durability: device.cachesPersist ? [] : ["cache"],
      sparse: false,
    });
  }

  /** The device, which must be one that can be mapped. */
  async #find(path: string): Promise<DaxDevice> {
    const number = await this.#host.deviceNumber(path);
    const device = number === undefined ? undefined : findDaxDevice(this.#host.linux, number);
    if (device === undefined) {
      throw memoryErrors.ERR_CPR_MEMORY_KIND({ path, kind: "no device-DAX node" });
    }
    const { name, size, driver } = device;
    if (driver === "kmem") {
      throw memoryErrors.ERR_CPR_MEMORY_OPEN({
        path,
        reason: "The kernel uses it as its own memory (system-ram)",
        remedy: `Take it back: daxctl reconfigure-device --mode=devdax --force ${name}`,
      });
    }
    if (size === 0 || driver === undefined) {
      throw memoryErrors.ERR_CPR_MEMORY_OPEN({
        path,
        reason: size === 0 ? "It has no memory" : "It is disabled",
        remedy: `See \`daxctl list --idle\`, and use \`daxctl ${size === 0 ? "create-device" : `enable-device ${name}`}\`.`,
      });
    }
    return device;
  }
}

function checkProperties({ id, type, share, readonly, align }: MemoryObjectOptions): void {
  const wrong = (property: string, reason: string) =>
    memoryErrors.ERR_CPR_MEMORY_PROPERTY({ id, type, property, reason });
  if (share !== true) {
    throw wrong("share", "must be on: device DAX has no copy-on-write");
  }
  if (readonly === true) {
    throw wrong("readonly", "cannot be on: the guest writes to its RAM");
  }
  if (align !== undefined && !(align > 0 && Number.isInteger(Math.log2(align)))) {
    throw wrong("align", "must be a power of two");
  }
}

function checkFit({ size, align }: MemoryObjectOptions, path: string, device: DaxDevice): void {
  const { alignment } = device;
  if (align !== undefined && align < alignment) {
    throw memoryErrors.ERR_CPR_MEMORY_ALIGN({ path, align, alignment });
  }
  if (size > device.size) {
    const remedy = `Use \`size=${device.size}\`, or less.`;
    throw memoryErrors.ERR_CPR_MEMORY_FILE_SIZE({ path, size, actual: device.size, remedy });
  }
  if (size % alignment !== 0) {
    throw memoryErrors.ERR_CPR_MEMORY_PAGE_SIZE({ location: path, size, pageSize: alignment });
  }
}

function open(path: string, name: string): number {
  try {
    return openSync(path, constants.O_RDWR);
  } catch (cause) {
    const isForbidden = (cause as NodeJS.ErrnoException).code === "EACCES";
    const remedy = isForbidden
      ? `Give it to this user: chown USER ${path}, or for good with a rule of udev: SUBSYSTEM=="dax", KERNEL=="${name}", OWNER="USER"`
      : undefined;
    throw memoryErrors.ERR_CPR_MEMORY_OPEN({ path, reason: reasonOf(cause), remedy }, { cause });
  }
}
