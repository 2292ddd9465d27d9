import { readFile, realpath } from "node:fs/promises";
import { basename, join } from "node:path";

/** Properties of a device-DAX node, from sysfs (Linux Documentation/ABI/testing/sysfs-bus-dax). */
export interface DaxDevice {
  /** Bytes of memory that it has. */
  readonly size: number;
  /** Mappings must begin at multiples of this, in the device and in the address space. */
  readonly alignment: number;
}

/** What the kernel uses where sysfs does not tell: 2 MiB, a huge page of x86-64. */
const usualAlignment = 0x20_0000;

/**
 * Looks a character device up in sysfs; gives undefined if it is no device-DAX node.
 *
 * @param sysfs - where sysfs is mounted
 */
export async function findDaxDevice(sysfs: string, major: number, minor: number): Promise<DaxDevice | undefined> {
  const folder = join(sysfs, "dev", "char", `${major}:${minor}`);
  const subsystem = await realpath(join(folder, "subsystem")).catch(() => "");
  if (basename(subsystem) !== "dax") {
    return undefined;
  }
  const size = await readNumber(folder, "size");
  if (size === undefined) {
    return undefined;
  }
  return { size, alignment: (await readNumber(folder, "align")) ?? usualAlignment };
}

/** Attributes moved from the node's parent to the node itself when DAX became a bus (Linux 5.1). */
async function readNumber(folder: string, attribute: string): Promise<number | undefined> {
  for (const path of [join(folder, attribute), join(folder, "device", attribute)]) {
    const text = await readFile(path, "latin1").catch(() => undefined);
    if (text !== undefined && /^(0x[0-9a-f]+|\d+)\s*$/i.test(text)) {
      return Number(text.trim());
    }
  }
  return undefined;
}
