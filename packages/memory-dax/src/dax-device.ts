import { basename, dirname } from "node:path";
import type { LinuxHost } from "@cpr/core";

/** The number of a device: of what kind it is, and which one. */
export interface DeviceNumber {
  readonly major: number;
  readonly minor: number;
}

/** A device-DAX node, as sysfs tells of it (Linux Documentation/ABI/testing/sysfs-bus-dax). */
export interface DaxDevice {
  /** The kernel's name for it, like `dax0.0`: after a reboot it may have another one. */
  readonly name: string;
  /** The UUID of the namespace of persistent memory that it is, if it is one: it is in the memory itself. */
  readonly uuid: string | undefined;
  /** Bytes of memory that it has. */
  readonly size: number;
  /** Mappings begin and end at multiples of this, in the device and in the address space. */
  readonly alignment: number;
  /** The driver that has it: only `device_dax` lets it be mapped. */
  readonly driver: string | undefined;
  /** The platform saves the processors' caches when the power fails, so that nobody need flush them. */
  readonly cachesPersist: boolean;
}

/** What the kernel uses where sysfs does not tell: 2 MiB, a huge page of x86-64. */
const usualAlignment = 0x20_0000;

/** Looks a character device up in sysfs; gives undefined if it is no device-DAX node. */
export function findDaxDevice(host: LinuxHost, { major, minor }: DeviceNumber): DaxDevice | undefined {
  const folder = host.target(`/sys/dev/char/${major}:${minor}`);
  return basename(host.target(`${folder}/subsystem`)) === "dax" ? daxDeviceAt(host, folder) : undefined;
}

/** The node whose folder in sysfs that is, without links. */
export function daxDeviceAt(host: LinuxHost, folder: string): DaxDevice {
  // Above a node of persistent memory are what its namespace was made into, and the region that the namespace is in.
  const memory = dirname(folder);
  const region = dirname(memory);
  return {
    name: basename(folder),
    uuid: host.text(`${memory}/uuid`) || undefined,
    size: host.number(`${folder}/size`) ?? 0,
    // Before Linux 5.10 it was there.
    alignment: host.number(`${folder}/align`) ?? host.number(`${memory}/align`) ?? usualAlignment,
    driver: host.has(`${folder}/driver`) ? basename(host.target(`${folder}/driver`)) : undefined,
    cachesPersist: host.text(`${region}/persistence_domain`) === "cpu_cache",
  };
}
