import { formatBytes, type HostCheck, type HostFinding, type HostMount, LinuxHost } from "@cpr/core";
import { daxDeviceAt } from "./dax-device.ts";

const nodes = "/sys/bus/dax/devices";
const persistent = "/sys/bus/nd/devices";

/** What memory that outlives the kernel is good for. */
const enoughFor = ["restart", "replace-kernel"] as const;

/** Which memory of the host outlives its kernel: nodes of device DAX, and persistent memory that is something else yet. */
export class DaxHostCheck implements HostCheck {
  readonly name = "dax";
  readonly summary = "RAM that outlives the host's kernel (memory-backend-file on DAX)";
  readonly #host: LinuxHost;

  constructor(host: LinuxHost = new LinuxHost()) {
    this.#host = host;
  }

  async examine(): Promise<readonly HostFinding[]> {
    const names = this.#host.names(persistent);
    const found = [
      ...this.#host.names(nodes).flatMap((name) => this.#node(name)),
      ...names.filter((name) => /^namespace\d/.test(name)).flatMap((name) => this.#namespace(name)),
      ...names.filter((name) => /^region\d/.test(name)).flatMap((name) => this.#region(name)),
    ];
    return found.length > 0 ? found : [this.#nothing()];
  }

  /** A node of device DAX (Linux Documentation/ABI/testing/sysfs-bus-dax), e.g. `dax0.0`. */
  #node(name: string): readonly HostFinding[] {
    const host = this.#host;
    const folder = host.target(`${nodes}/${name}`);
    const { size, alignment, driver } = daxDeviceAt(host, folder);
    if (size === 0) return [];
    const subject = `/dev/${name}`;
    const memory = `${formatBytes(size)}, alignment ${formatBytes(alignment)}`;
    if (driver === "kmem") {
      return [
        {
          subject,
          status: "missing",
          found: `${memory}, which the kernel uses as its own (system-ram)`,
          remedy: `daxctl reconfigure-device --mode=devdax --force ${name}`,
          enoughFor,
        },
      ];
    }
    switch (host.access(subject)) {
      case "absent":
        return [
          {
            subject,
            status: "missing",
            found: `${memory}, but no node`,
            remedy: `modprobe device_dax; daxctl enable-device ${name}`,
            enoughFor,
          },
        ];
      case "forbidden":
        return [
          {
            subject,
            status: "missing",
            found: `${memory}; there is no permission to open it`,
            remedy: `Give the node to this user (chown USER ${subject}; a rule of udev makes it last), or run cpr as root.`,
            enoughFor,
          },
        ];
      case "usable":
        return [{ subject, ...lasting(folder, memory), enoughFor }];
    }
  }

  /** A namespace of persistent memory (Linux Documentation/driver-api/nvdimm), e.g. `namespace0.0`. */
  #namespace(name: string): readonly HostFinding[] {
    const host = this.#host;
    const folder = `${persistent}/${name}`;
    const [size = 0, mode, holder] = [
      host.number(`${folder}/size`),
      host.text(`${folder}/mode`),
      host.text(`${folder}/holder`),
    ];
    if (size === 0) return [];
    const asDevice = `ndctl create-namespace -f -e ${name} -m devdax -a 2M makes it a device, and destroys what is in it.`;
    const finding = { subject: name, enoughFor } as const;
    switch (mode) {
      case "dax":
        // What it is made into tells of itself.
        return holder !== undefined && holder !== ""
          ? []
          : [
              {
                ...finding,
                status: "missing",
                found: `${formatBytes(size)} in mode devdax, disabled`,
                remedy: `ndctl enable-namespace ${name}`,
              },
            ];
      case "memory": {
        const [block = ""] = host.names(`${persistent}/${holder}/block`);
        const mount = host.mounts.find(({ device }) => device === `/dev/${block}`);
        return [{ ...finding, ...fileSystemDax(`${formatBytes(size)} in mode fsdax`, block, mount, asDevice) }];
      }
      default:
        return [
          {
            ...finding,
            status: "missing",
            found: `${formatBytes(size)} in mode ${mode === "safe" ? "sector" : "raw"}: files in it are copied to RAM`,
            remedy: asDevice,
          },
        ];
    }
  }

  #region(name: string): readonly HostFinding[] {
    const free = this.#host.number(`${persistent}/${name}/available_size`) ?? 0;
    return free === 0
      ? []
      : [
          {
            subject: name,
            status: "missing",
            found: `${formatBytes(free)} of persistent memory without a namespace`,
            remedy: `ndctl create-namespace -r ${name} -m devdax -a 2M`,
            enoughFor,
          },
        ];
  }

  #nothing(): HostFinding {
    const subject = "device DAX";
    const lacking = (["CONFIG_DEV_DAX", "CONFIG_LIBNVDIMM"] as const).filter(
      (each) => this.#host.kernelOption(each) === "n",
    );
    return {
      subject,
      status: "missing",
      found: `no persistent memory, and none set aside${lacking.length === 0 ? "" : `; the kernel lacks ${lacking.join(", ")}`}`,
      remedy: `${lacking.length === 0 ? "Use" : "Boot a kernel that has these, and use"} an NVDIMM (of a VM: QEMU's -device nvdimm), or try with RAM set aside by the kernel option memmap=SIZE!START.`,
      enoughFor,
    };
  }
}

/** How long what is in a device's memory lasts, by where the memory comes from. */
function lasting(folder: string, memory: string): Pick<HostFinding, "status" | "found" | "remedy"> {
  if (folder.includes("/e820_pmem/")) {
    return {
      status: "limited",
      found: `${memory}, RAM set aside with memmap=`,
      remedy:
        "Start the next kernel with the same memmap=, and keep kexec from loading it there (kexec --mem-max=ADDRESS): it takes this memory for free.",
    };
  }
  return folder.includes("/ndbus")
    ? { status: "ready", found: `${memory}, persistent memory` }
    : {
        status: "limited",
        found: `${memory}, which the firmware sets aside`,
        remedy: "See that what is in it is still there after a reboot before you rely on it.",
      };
}

/** What can be done with a namespace that is a block device whose files can be mapped as they are. */
function fileSystemDax(
  memory: string,
  block: string,
  mount: HostMount | undefined,
  asDevice: string,
): Pick<HostFinding, "status" | "found" | "remedy"> {
  if (mount === undefined) {
    return {
      status: "missing",
      found: `${memory}, not mounted`,
      remedy: `Mount it with DAX (mkfs.ext4 -b 4096 /dev/${block}; mount -o dax=always /dev/${block} FOLDER) and put RAM in a file there. Or: ${asDevice}`,
    };
  }
  const where = `${memory}, ${mount.type} on ${mount.folder}`;
  return mount.options.some((option) => option === "dax" || option === "dax=always")
    ? { status: "ready", found: where }
    : {
        status: "limited",
        found: `${where} without DAX: files in it are copied to RAM`,
        remedy: `umount ${mount.folder} && mount -o dax=always /dev/${block} ${mount.folder}`,
      };
}
