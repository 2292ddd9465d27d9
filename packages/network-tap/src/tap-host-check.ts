import { type HostCheck, type HostFinding, LinuxHost } from "@cpr/core";

/** linux/capability.h */
const CAP_NET_ADMIN = 12n;

/** Whether guests can have network cards on tap devices of this host, and who may make these. */
export class TapHostCheck implements HostCheck {
  readonly name = "tap";
  readonly summary = "Networks through the host's tap devices (-netdev tap)";
  readonly #host: LinuxHost;

  constructor(host: LinuxHost = new LinuxHost()) {
    this.#host = host;
  }

  async examine(): Promise<readonly HostFinding[]> {
    return [this.#node(), this.#permission()];
  }

  #node(): HostFinding {
    const subject = "/dev/net/tun";
    switch (this.#host.access(subject)) {
      case "usable":
        return { subject, status: "ready", found: "can be opened" };
      case "forbidden":
        return {
          subject,
          status: "missing",
          found: "there is no permission to open it",
          remedy: `chmod 0666 ${subject}, as it is on most hosts: who may attach to which device is asked besides.`,
        };
      case "absent":
        return this.#host.kernelOption("CONFIG_TUN") === "n"
          ? {
              subject,
              status: "missing",
              found: "this kernel was built without tap devices",
              remedy: "Boot a kernel that has CONFIG_TUN, or use -netdev user, which needs none.",
            }
          : { subject, status: "missing", found: "not there", remedy: "modprobe tun" };
    }
  }

  /** Who may make a device, and attach to one that was not made for him (Linux Documentation/networking/tuntap.rst). */
  #permission(): HostFinding {
    const subject = "permission";
    return this.#host.isCapable(CAP_NET_ADMIN)
      ? { subject, status: "ready", found: "this user may make devices (CAP_NET_ADMIN)" }
      : {
          subject,
          status: "limited",
          found: "this user may only use devices that were made for it (CAP_NET_ADMIN)",
          remedy: "Make one as root: ip tuntap add dev NAME mode tap user USER. -netdev user needs none.",
        };
  }
}
