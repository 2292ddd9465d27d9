import { formatBytes, type HostCheck, type HostFinding, LinuxHost } from "@cpr/core";

const pools = "/sys/kernel/mm/hugepages";

/** Whether the kernel has huge pages set aside, and a file system of them. */
export class HugePagesHostCheck implements HostCheck {
  readonly name = "huge-pages";
  readonly summary = "RAM in huge pages (memory-backend-file on hugetlbfs, memory-backend-memfd,hugetlb=on)";
  readonly #host: LinuxHost;

  constructor(host: LinuxHost = new LinuxHost()) {
    this.#host = host;
  }

  async examine(): Promise<readonly HostFinding[]> {
    const found = this.#host.names(pools).flatMap((name) => {
      const size = /^hugepages-(\d+)kB$/.exec(name)?.[1];
      return size === undefined ? [] : [this.#pool(`${pools}/${name}`, Number(size) * 1024)];
    });
    return found.length > 0
      ? [...found, this.#fileSystem()]
      : [
          {
            subject: "kernel",
            status: "missing",
            found: "no huge pages of hugetlb",
            remedy: "Boot a kernel that has CONFIG_HUGETLBFS, as those of distributions have.",
          },
        ];
  }

  #pool(folder: string, size: number): HostFinding {
    const subject = `pages of ${formatBytes(size)}`;
    const [total = 0, free = 0] = ["nr_hugepages", "free_hugepages"].map((each) =>
      this.#host.number(`${folder}/${each}`),
    );
    if (free > 0) {
      return { subject, status: "ready", found: `${free} of ${total} free (${formatBytes(free * size)})` };
    }
    // Memory is soon in pieces: so large a page is found at the start only.
    const early = size >= 2 ** 30 ? `, or the kernel options hugepagesz=${size / 2 ** 30}G hugepages=NUMBER` : "";
    return {
      subject,
      status: total > 0 ? "limited" : "missing",
      found: total > 0 ? `all ${total} in use` : "none set aside",
      remedy: `echo NUMBER > ${folder}/nr_hugepages${early}`,
    };
  }

  #fileSystem(): HostFinding {
    const subject = "hugetlbfs";
    const mounts = this.#host.mounts.filter(({ type }) => type === "hugetlbfs").map(({ folder }) => folder);
    return mounts.length > 0
      ? { subject, status: "ready", found: `on ${mounts.join(", ")}` }
      : {
          subject,
          status: "missing",
          found: "not mounted",
          remedy: "mkdir -p /dev/hugepages && mount -t hugetlbfs hugetlbfs /dev/hugepages",
        };
  }
}
