import { type HostCheck, type HostFinding, LinuxHost } from "@cpr/core";

/** The kernel since which all that is used of it is there: MADV_POPULATE_WRITE, for RAM with `prealloc=on`. */
const newKernel = [5, 14] as const;

/** Descriptors that a VM with several vCPUs and a save with 255 channels want. */
const manyFiles = 1024;

/** What the program itself is and runs on: versions, and the limits of its processes. */
export class ProgramHostCheck implements HostCheck {
  readonly name = "program";
  readonly summary = "cpr and what it runs on";
  readonly #version: string;
  readonly #host: LinuxHost;

  /** @param version - of this program. */
  constructor(version: string, host: LinuxHost = new LinuxHost()) {
    this.#version = version;
    this.#host = host;
  }

  async examine(): Promise<readonly HostFinding[]> {
    return [
      { subject: "cpr", status: "ready", found: this.#version },
      { subject: "Node", status: "ready", found: `${process.versions.node}, ${libraryVersion()}` },
      this.#kernel(),
      this.#configuration(),
      this.#limits(),
    ];
  }

  #kernel(): HostFinding {
    const subject = "kernel";
    const found = this.#host.kernelRelease || "unknown";
    const [major = 0, minor = 0] = found.split(/[.-]/).map(Number);
    return major > newKernel[0] || (major === newKernel[0] && minor >= newKernel[1])
      ? { subject, status: "ready", found }
      : {
          subject,
          status: "limited",
          found,
          remedy: `RAM with prealloc=on needs Linux ${newKernel.join(".")}, KVM needs 4.12.`,
        };
  }

  /** Whether other checks can tell what the kernel was built with. */
  #configuration(): HostFinding {
    const subject = "kernel options";
    return this.#host.kernelOption("CONFIG_MMU") === undefined
      ? {
          subject,
          status: "limited",
          found: "how the kernel was built cannot be read, so what is said about it is from its traces alone",
          remedy: "modprobe configs, or let this user read /boot/config-$(uname -r).",
        }
      : { subject, status: "ready", found: "can be read" };
  }

  #limits(): HostFinding {
    const subject = "limits";
    const text = this.#host.text("/proc/self/limits") ?? "";
    const limit = (name: string): number => {
      const word = new RegExp(`^Max ${name} +(\\d+|unlimited) `, "m").exec(text)?.[1];
      return word === undefined || word === "unlimited" ? Number.POSITIVE_INFINITY : Number(word);
    };
    const wrong = [
      ...(limit("address space") === Number.POSITIVE_INFINITY ? [] : ["address space is limited (ulimit -v)"]),
      ...(limit("open files") >= manyFiles ? [] : [`only ${limit("open files")} open files (ulimit -n)`]),
    ];
    return wrong.length === 0
      ? { subject, status: "ready", found: "none that matters" }
      : {
          subject,
          status: "limited",
          found: wrong.join("; "),
          remedy: `ulimit -v unlimited; ulimit -n ${manyFiles}, or LimitAS= and LimitNOFILE= of a systemd unit.`,
        };
  }
}

/** The C library that this process runs on. */
function libraryVersion(): string {
  const { header } = process.report.getReport() as { readonly header?: { readonly glibcVersionRuntime?: string } };
  const version = header?.glibcVersionRuntime;
  return version === undefined ? "another C library than glibc" : `glibc ${version}`;
}
