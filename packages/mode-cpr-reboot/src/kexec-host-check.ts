import { type HostCheck, type HostFinding, LinuxHost } from "@cpr/core";

const neededFor = ["replace-kernel"] as const;

/** linux/capability.h */
const CAP_SYS_BOOT = 22n;

/** Whether this kernel can start another one in its place, which leaves memory as it is. */
export class KexecHostCheck implements HostCheck {
  readonly name = "kexec";
  readonly summary = "Another kernel in place of this one, without the firmware (kexec)";
  readonly #host: LinuxHost;

  constructor(host: LinuxHost = new LinuxHost()) {
    this.#host = host;
  }

  async examine(): Promise<readonly HostFinding[]> {
    return [this.#kernel(), ...this.#lockdown(), this.#tools(), this.#services(), this.#privilege()];
  }

  #kernel(): HostFinding {
    const subject = "kernel";
    const loaded = this.#host.number("/sys/kernel/kexec_loaded");
    if (loaded === undefined) {
      return {
        subject,
        status: "missing",
        found: "this kernel was built without kexec",
        remedy: "Boot a kernel that has CONFIG_KEXEC or CONFIG_KEXEC_FILE, as those of distributions have.",
        neededFor,
      };
    }
    if (this.#host.number("/proc/sys/kernel/kexec_load_disabled") === 1) {
      return {
        subject,
        status: loaded === 1 ? "limited" : "missing",
        found: `kernel.kexec_load_disabled is 1${loaded === 1 ? ": no other kernel than the one that is loaded can be started" : ""}`,
        remedy: "Take the setting out of /etc/sysctl.d, and reboot once: it cannot be taken back before.",
        neededFor,
      };
    }
    const ways = (["CONFIG_KEXEC", "CONFIG_KEXEC_FILE"] as const).filter(
      (each) => this.#host.kernelOption(each) === "y",
    );
    return {
      subject,
      status: "ready",
      found: `${ways.length === 0 ? "can kexec" : ways.join(", ")}${loaded === 1 ? "; another kernel is loaded" : ""}`,
      neededFor,
    };
  }

  /** How far the kernel protects itself from root (kernel_lockdown(7)), if it can. */
  #lockdown(): readonly HostFinding[] {
    const subject = "lockdown";
    const level = /\[(\w+)\]/.exec(this.#host.text("/sys/kernel/security/lockdown") ?? "")?.[1];
    if (level === undefined) return [];
    return level === "none"
      ? [{ subject, status: "ready", found: "none", neededFor }]
      : [
          {
            subject,
            status: "limited",
            found: `${level}: only a signed kernel can be loaded`,
            remedy: "Load one by kexec_file_load: kexec -s -l KERNEL, or turn Secure Boot off.",
            neededFor,
          },
        ];
  }

  #tools(): HostFinding {
    const subject = "kexec-tools";
    const path = this.#host.program("kexec");
    return path === undefined
      ? {
          subject,
          status: "missing",
          found: "not installed",
          remedy: "Install the package kexec-tools (Debian: apt-get install kexec-tools).",
          neededFor,
        }
      : { subject, status: "ready", found: path, neededFor };
  }

  /** Whether services are stopped before the kernel is left, as VMs are saved by one. */
  #services(): HostFinding {
    const subject = "systemctl kexec";
    // sd_booted(3).
    return this.#host.has("/run/systemd/system") && this.#host.program("systemctl") !== undefined
      ? { subject, status: "ready", found: "systemd runs this host", neededFor }
      : {
          subject,
          status: "limited",
          found: "systemd does not run this host",
          remedy: "Save the VMs, stop services and unmount file systems yourself, then kexec -e.",
          neededFor,
        };
  }

  #privilege(): HostFinding {
    const subject = "permission";
    return this.#host.isCapable(CAP_SYS_BOOT)
      ? { subject, status: "ready", found: "this user may (CAP_SYS_BOOT)", neededFor }
      : {
          subject,
          status: "limited",
          found: "this user may not (CAP_SYS_BOOT)",
          remedy: "Let root do it: sudo systemctl kexec.",
          neededFor,
        };
  }
}
