import { constants } from "node:fs";
import { formatBytes, type HostCheck, type HostFinding, isCprError, LinuxHost } from "@cpr/core";
import { pageSize } from "@cpr/native-mman";

/** RAM of a small guest: less room than this is worth a word. */
const smallGuest = 2 ** 30;

/** Whether RAM can be in files that outlive the process: the addon that maps them, and room on `/dev/shm`. */
export class SharedMemoryHostCheck implements HostCheck {
  readonly name = "shared-memory";
  readonly summary = "RAM that outlives cpr (memory-backend-file, memory-backend-shm)";
  readonly #host: LinuxHost;

  constructor(host: LinuxHost = new LinuxHost()) {
    this.#host = host;
  }

  async examine(): Promise<readonly HostFinding[]> {
    return [mapping(), await this.#folder()];
  }

  async #folder(): Promise<HostFinding> {
    const path = "/dev/shm";
    const finding = { subject: path, enoughFor: ["restart"] } as const;
    const space = await this.#host.space(path);
    const access = this.#host.access(path, constants.W_OK | constants.X_OK);
    if (space === undefined || access !== "usable") {
      return {
        ...finding,
        status: "missing",
        found: access === "forbidden" ? "this user may not write there" : "not there",
        remedy:
          access === "forbidden"
            ? `chmod 1777 ${path}`
            : `mkdir -p ${path} && mount -t tmpfs -o mode=1777 tmpfs ${path}`,
      };
    }
    const { kind, total, free } = space;
    const found = `${kind}, ${formatBytes(free)} of ${formatBytes(total)} free`;
    return free < smallGuest
      ? {
          ...finding,
          status: "limited",
          found,
          remedy: `mount -o remount,size=SIZE ${path}, or take away what is there; a container gets its size from who starts it (--shm-size).`,
        }
      : { ...finding, status: "ready", found };
  }
}

/** Whether the addon is there that maps files. */
function mapping(): HostFinding {
  const finding = { subject: "native addon", neededFor: ["restart", "replace-kernel"] } as const;
  try {
    return { ...finding, status: "ready", found: `native-mman, pages of ${formatBytes(pageSize())}` };
  } catch (error) {
    return {
      ...finding,
      status: "missing",
      found: error instanceof Error ? error.message : String(error),
      remedy: (isCprError(error) ? error.hint : undefined) ?? "Install cpr again.",
    };
  }
}
