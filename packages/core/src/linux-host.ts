import { accessSync, constants, readdirSync, readFileSync, realpathSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { type HostFileSystem, hostFileSystem } from "./host-file-system.ts";

/** How much room there is on a file system. */
export interface HostSpace extends HostFileSystem {
  /** Bytes. */
  readonly total: number;
  /** Bytes that are free for this user. */
  readonly free: number;
}

/** A line of `/proc/self/mounts`. */
export interface HostMount {
  readonly device: string;
  readonly folder: string;
  readonly type: string;
  readonly options: readonly string[];
}

/** Folders of programs, which a user's PATH may lack. */
const programFolders = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"];

/**
 * What Linux tells of itself in files. Nothing throws: what is not there, and what may not be read, is told by the result.
 * Paths are absolute. A test replaces the first five methods, on which the others rest.
 */
export class LinuxHost {
  #options: ReadonlyMap<string, string> | undefined;

  /** What is in a file; undefined if it cannot be read. */
  bytes(path: string): Uint8Array | undefined {
    try {
      return readFileSync(path);
    } catch {
      return undefined;
    }
  }

  /** The names in a folder, sorted; none if it cannot be read. */
  names(path: string): readonly string[] {
    try {
      return readdirSync(path).sort();
    } catch {
      return [];
    }
  }

  /** The path without links; the path itself if it leads nowhere. */
  target(path: string): string {
    try {
      return realpathSync(path);
    } catch {
      return path;
    }
  }

  /**
   * Whether this user may use a file or folder.
   *
   * @param mode - for what, as in access(2); reading and writing if it is not given.
   */
  access(path: string, mode: number = constants.R_OK | constants.W_OK): "usable" | "forbidden" | "absent" {
    try {
      accessSync(path, mode);
      return "usable";
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      return code === "ENOENT" || code === "ENOTDIR" ? "absent" : "forbidden";
    }
  }

  /** The room on the file system of a path that is there; undefined if the system does not tell. */
  async space(path: string): Promise<HostSpace | undefined> {
    try {
      const { bsize, blocks, bavail } = await statfs(path);
      return { ...hostFileSystem(path), total: bsize * blocks, free: bsize * bavail };
    } catch {
      return undefined;
    }
  }

  has(path: string): boolean {
    return this.access(path, constants.F_OK) !== "absent";
  }

  /** The text of a file without the white space at its end; undefined if it cannot be read. */
  text(path: string): string | undefined {
    const bytes = this.bytes(path);
    return bytes === undefined ? undefined : Buffer.from(bytes).toString("latin1").trimEnd();
  }

  /** The number that a file has, decimal or hexadecimal; undefined if there is none. */
  number(path: string): number | undefined {
    const text = this.text(path) ?? "";
    return /^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : undefined;
  }

  /** The path itself if it is there, else the nearest folder above it that is. */
  nearest(path: string): string {
    return path === "/" || this.has(path) ? path : this.nearest(dirname(path));
  }

  /** The path of a program; undefined if it is not installed, or not for this user. */
  program(name: string): string | undefined {
    const folders = [...(process.env["PATH"] ?? "").split(":"), ...programFolders];
    return folders
      .filter((folder) => folder.startsWith("/"))
      .map((folder) => join(folder, name))
      .find((path) => this.access(path, constants.X_OK) === "usable");
  }

  /** Whether this process has a capability, by its number in linux/capability.h; not if nobody tells. */
  isCapable(capability: bigint): boolean {
    const effective = /^CapEff:\s*([0-9a-f]{16})$/m.exec(this.text("/proc/self/status") ?? "")?.[1] ?? "0";
    return ((BigInt(`0x${effective}`) >> capability) & 1n) === 1n;
  }

  /** `uname -r`; empty if nobody tells. */
  get kernelRelease(): string {
    return /^\S+$/.exec(this.text("/proc/sys/kernel/osrelease") ?? "")?.[0] ?? "";
  }

  get mounts(): readonly HostMount[] {
    return (this.text("/proc/self/mounts") ?? "").split("\n").flatMap((line) => {
      const words = line.split(" ").map((word) => word.replace(/\\([0-7]{3})/g, characterOf));
      const [device = "", folder, type = "", options = ""] = words;
      return folder === undefined ? [] : [{ device, folder, type, options: options.split(",") }];
    });
  }

  /** How the kernel was configured: `y`, `m`, another value, or `n`; undefined if its configuration cannot be read. */
  kernelOption(name: `CONFIG_${string}`): string | undefined {
    this.#options ??= this.#readOptions();
    return this.#options.size === 0 ? undefined : (this.#options.get(name) ?? "n");
  }

  #readOptions(): ReadonlyMap<string, string> {
    const text = this.#unpacked("/proc/config.gz") ?? this.text(`/boot/config-${this.kernelRelease}`) ?? "";
    return new Map([...text.matchAll(/^(CONFIG_\w+)=(.*)$/gm)].map(([, name = "", value = ""]) => [name, value]));
  }

  #unpacked(path: string): string | undefined {
    const bytes = this.bytes(path);
    try {
      return bytes === undefined ? undefined : gunzipSync(bytes).toString("latin1");
    } catch {
      return undefined;
    }
  }
}

/** How /proc/self/mounts writes spaces and the like. */
function characterOf(_whole: string, digits: string): string {
  return String.fromCharCode(Number.parseInt(digits, 8));
}
