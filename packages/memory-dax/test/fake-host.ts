import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FakeHost } from "@cpr/testkit/fakes";
import type { DaxHost, DeviceNumber } from "../src/index.ts";

/** What a {@link FakeDaxHost} shows of its device. */
export interface FakeDaxOptions {
  readonly size?: number;
  readonly align?: number;
  /** What has the node's `align`: itself, what its namespace was made into, or nothing. */
  readonly alignAt?: "node" | "memory" | "nowhere";
  readonly subsystem?: string;
  readonly driver?: "device_dax" | "kmem" | "none";
  /** Of the namespace; without one it is no persistent memory. */
  readonly uuid?: string;
  readonly persistenceDomain?: string;
  /** The kernel's name for it. */
  readonly name?: string;
}

/** A host with one device-DAX node, which is a file on tmpfs, and a sysfs that tells of it. */
export class FakeDaxHost implements DaxHost {
  readonly folder = mkdtempSync("/dev/shm/memory-dax-");
  readonly device = join(this.folder, "dax0.0");
  readonly linux: FakeHost;

  constructor(options: FakeDaxOptions = {}) {
    const { size = 16 << 20, align = 4096, alignAt = "node", subsystem = "/sys/bus/dax" } = options;
    const { driver = "device_dax", uuid, persistenceDomain, name = "dax0.0" } = options;
    writeFileSync(this.device, Buffer.alloc(size));
    const region = "/sys/devices/LNXSYSTM:00/ACPI0012:00/ndbus0/region0";
    const memory = `${region}/dax0.1`;
    const node = `${memory}/${name}`;
    this.linux = new FakeHost({
      "/sys/dev/char/250:7": { link: node },
      [`${node}/subsystem`]: { link: subsystem },
      [`${node}/size`]: `${size}\n`,
      ...(driver === "none" ? {} : { [`${node}/driver`]: { link: `/sys/bus/dax/drivers/${driver}` } }),
      [`/sys/bus/dax/drivers/${driver}/bind`]: "",
      ...(alignAt === "nowhere" ? {} : { [`${alignAt === "node" ? node : memory}/align`]: `${align}\n` }),
      ...(uuid === undefined ? {} : { [`${memory}/uuid`]: `${uuid}\n` }),
      ...(persistenceDomain === undefined ? {} : { [`${region}/persistence_domain`]: `${persistenceDomain}\n` }),
    });
  }

  async deviceNumber(path: string): Promise<DeviceNumber | undefined> {
    return path === this.device ? { major: 250, minor: 7 } : undefined;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }
}
