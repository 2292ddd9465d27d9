import { constants } from "node:fs";
import { formatBytes, type HostCheck, type HostFinding, LinuxHost, stateFolder } from "@cpr/core";

/** RAM of a small guest: a checkpoint that has it does not fit in less. */
const smallGuest = 2 ** 30;

/** Whether this host has a place where checkpoints, and the marks of RAM on devices, outlive a reboot. */
export class StorageHostCheck implements HostCheck {
  readonly name = "storage";
  readonly summary = "What is kept over a reboot";
  readonly #folder: string;
  readonly #host: LinuxHost;

  constructor(host: LinuxHost = new LinuxHost(), folder: string = stateFolder()) {
    this.#host = host;
    this.#folder = folder;
  }

  async examine(): Promise<readonly HostFinding[]> {
    const [host, path] = [this.#host, this.#folder];
    const finding = { subject: "state folder", enoughFor: ["reboot"], neededFor: ["replace-kernel"] } as const;
    const elsewhere = "or name another folder in CPR_STATE_DIRECTORY.";
    const there = host.nearest(path);
    const space = await host.space(there);
    if (space === undefined || host.access(there, constants.W_OK | constants.X_OK) !== "usable") {
      const found = `${path}: this user may not write to ${there}`;
      const remedy = `Make it, owned by this user (mkdir -p ${path}; chown USER ${path}), ${elsewhere}`;
      return [{ ...finding, status: "missing", found, remedy }];
    }
    if (!space.survivesReboot) {
      const found = `${path}: on ${space.kind}, which a reboot empties`;
      return [{ ...finding, status: "missing", found, remedy: `Mount a disk there, ${elsewhere}` }];
    }
    const later = there === path ? "" : "; it is made when it is needed";
    const found = `${path}: ${formatBytes(space.free)} of ${formatBytes(space.total)} free${later}`;
    return space.free < smallGuest
      ? [{ ...finding, status: "limited", found, remedy: `Make room there, ${elsewhere}` }]
      : [{ ...finding, status: "ready", found }];
  }
}
