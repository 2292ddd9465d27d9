import { constants } from "node:fs";
import { type HostCheck, type HostFinding, LinuxHost } from "@cpr/core";
import { hostFolders, unitName } from "@cpr/host";

/** Where units are (systemd.unit(5)), what an administrator has first. */
const unitFolders = ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"] as const;

/** Whether `cpr host` can do its work here, and does it by itself. */
export class ServiceHostCheck implements HostCheck {
  readonly name = "service";
  readonly summary = "VMs that come through a reboot by themselves (cpr host)";
  readonly #host: LinuxHost;
  readonly #folder: string;

  constructor(host: LinuxHost = new LinuxHost(), folder: string = hostFolders().runtime) {
    this.#host = host;
    this.#folder = folder;
  }

  async examine(): Promise<readonly HostFinding[]> {
    return [this.#runtimeFolder(), this.#unit()];
  }

  /** Where the VMs' sockets are. */
  #runtimeFolder(): HostFinding {
    const subject = "runtime folder";
    const there = this.#host.nearest(this.#folder);
    return this.#host.access(there, constants.W_OK | constants.X_OK) === "usable"
      ? { subject, status: "ready", found: this.#folder }
      : {
          subject,
          status: "missing",
          found: `${this.#folder}: this user may not write to ${there}`,
          remedy: "Name another folder in CPR_RUNTIME_DIRECTORY.",
        };
  }

  #unit(): HostFinding {
    const subject = unitName;
    const host = this.#host;
    const installed = unitFolders.find((folder) => host.has(`${folder}/${unitName}`));
    if (installed === undefined) {
      const remedy = `cpr host install-unit && systemctl enable --now ${unitName}`;
      return { subject, status: "missing", found: "not installed", remedy };
    }
    const targets = host.names(unitFolders[0]).filter((name) => /\.(wants|requires)$/.test(name));
    const enabled = targets.some((target) => host.names(`${unitFolders[0]}/${target}`).includes(unitName));
    return enabled
      ? { subject, status: "ready", found: `in ${installed}, enabled` }
      : {
          subject,
          status: "limited",
          found: `in ${installed}, not enabled`,
          remedy: `systemctl enable --now ${unitName}`,
        };
  }
}
