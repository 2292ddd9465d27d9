import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DaxHost } from "../src/index.ts";

/** What a {@link FakeDaxHost} shows of its device. */
export interface FakeDaxOptions {
  readonly size?: number;
  readonly align?: number;
  /** Where the attributes are: in the node's own folder, or its parent device's as in older kernels. */
  readonly attributes?: "node" | "device";
  readonly subsystem?: string;
}

/** A host with one device-DAX node, which is a file on tmpfs, and a sysfs that tells of it. */
export class FakeDaxHost implements DaxHost {
  readonly folder = mkdtempSync("/dev/shm/memory-dax-");
  readonly sysfs = join(this.folder, "sys");
  readonly device = join(this.folder, "dax0.0");

  constructor({ size = 16 << 20, align = 4096, attributes = "node", subsystem = "bus/dax" }: FakeDaxOptions = {}) {
    writeFileSync(this.device, Buffer.alloc(size));
    const node = join(this.sysfs, "devices/platform/dax0.0");
    const attributesFolder = attributes === "node" ? node : join(node, "device");
    mkdirSync(attributesFolder, { recursive: true });
    mkdirSync(join(this.sysfs, subsystem), { recursive: true });
    mkdirSync(join(this.sysfs, "dev/char"), { recursive: true });
    writeFileSync(join(attributesFolder, "size"), `${size}\n`);
    writeFileSync(join(attributesFolder, "align"), `${align}\n`);
    symlinkSync(join(this.sysfs, subsystem), join(node, "subsystem"));
    symlinkSync(node, join(this.sysfs, "dev/char/250:7"));
  }

  async deviceNumber(path: string): Promise<{ major: number; minor: number } | undefined> {
    return path === this.device ? { major: 250, minor: 7 } : undefined;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }
}
