import { type Backend, type HostCheck, type HostFinding, LinuxHost } from "@cpr/core";
import { KvmBackend } from "./backend.ts";

/** Processors that can execute guests: the flag in /proc/cpuinfo, the extension's name, the module that uses it. */
const extensions = [
  { flag: "svm", name: "AMD-V", module: "kvm_amd", nestedPaging: "npt" },
  { flag: "vmx", name: "Intel VT-x", module: "kvm_intel", nestedPaging: "ept" },
] as const;

type Extension = (typeof extensions)[number];

/** Whether the host's processor executes guests, and how fast. */
export class KvmHostCheck implements HostCheck {
  readonly name = "kvm";
  readonly summary = "The host's processor executes guests (-accel kvm)";
  readonly #host: LinuxHost;
  readonly #backend: Backend;

  constructor(host: LinuxHost = new LinuxHost(), backend: Backend = new KvmBackend()) {
    this.#host = host;
    this.#backend = backend;
  }

  async examine(): Promise<readonly HostFinding[]> {
    const flags = new Set(/^flags\s*:(.*)$/m.exec(this.#host.text("/proc/cpuinfo") ?? "")?.[1]?.split(" "));
    const extension = extensions.find(({ flag }) => flags.has(flag));
    const device = await this.#device();
    return [
      processor(extension, flags.has("hypervisor")),
      this.#module(extension),
      device,
      ...(device.status === "ready" ? [await this.#models()] : []),
    ];
  }

  #module(extension: Extension | undefined): HostFinding {
    const subject = "kernel module";
    const modules = this.#host.names("/sys/module").filter((name) => name.startsWith("kvm_"));
    const using = extensions.find(({ module }) => modules.includes(module));
    if (using !== undefined) {
      const { module, nestedPaging } = using;
      const slow = ["0", "N"].includes(this.#host.text(`/sys/module/${module}/parameters/${nestedPaging}`) ?? "");
      return slow
        ? {
            subject,
            status: "limited",
            found: `${module} without nested paging: every change of a guest's page tables stops it`,
            remedy: `Load it with ${nestedPaging}=1: modprobe -r ${module} && modprobe ${module} ${nestedPaging}=1`,
            neededFor: ["full-speed"],
          }
        : { subject, status: "ready", found: module };
    }
    if (modules.length > 0) {
      return {
        subject,
        status: "limited",
        found: `${modules.join(", ")}, and neither kvm_amd nor kvm_intel`,
        remedy: "Such a KVM emulates what most guests do, slowly: use a host whose kernel can have one of these two.",
      };
    }
    const names = extension === undefined ? "kvm_amd or kvm_intel" : extension.module;
    return this.#host.kernelOption("CONFIG_KVM") === "n"
      ? {
          subject,
          status: "missing",
          found: "this kernel was built without KVM",
          remedy:
            "Boot a kernel that has CONFIG_KVM and CONFIG_KVM_AMD or CONFIG_KVM_INTEL, as those of distributions have.",
        }
      : {
          subject,
          status: "missing",
          found: `${names} is not loaded`,
          remedy: `modprobe ${names.replace(" or ", "; modprobe ")}`,
        };
  }

  async #device(): Promise<HostFinding> {
    const subject = "/dev/kvm";
    const enoughFor = ["full-speed"] as const;
    const availability = await this.#backend.probe();
    return availability.available
      ? { subject, status: "ready", found: availability.note, enoughFor }
      : {
          subject,
          status: "missing",
          found: availability.reason,
          remedy: availability.hint ?? "Look at the kernel's log (dmesg); `cpr run -accel interp` needs no KVM.",
          enoughFor,
        };
  }

  /** Which CPU models the processor and the kernel have all features of. */
  async #models(): Promise<HostFinding> {
    const subject = "CPU models";
    const models = await Promise.all(
      this.#backend.processorModels.map(async (model) => {
        return { model, missing: (await this.#backend.missingFeatures?.(model)) ?? [] };
      }),
    );
    const whole = models.filter(({ missing }) => missing.length === 0).map(({ model }) => model);
    const lacking = models.find(({ missing }) => missing.length > 0);
    return lacking === undefined
      ? { subject, status: "ready", found: whole.join(", ") }
      : {
          subject,
          status: whole.length === 0 ? "missing" : "limited",
          found: `${whole.length === 0 ? "none" : whole.join(", ")}; for ${lacking.model} the host lacks ${lacking.missing.join(", ")}`,
          remedy:
            whole.length === 0
              ? "Turn the features on in the firmware or, if this host is a VM itself, give it the CPU model of its host."
              : `Name one of them: -cpu ${whole[0]}.`,
          neededFor: ["full-speed"],
        };
  }
}

function processor(extension: Extension | undefined, inVirtualMachine: boolean): HostFinding {
  const subject = "processor";
  return extension === undefined
    ? {
        subject,
        status: "missing",
        found: `neither AMD-V (svm) nor Intel VT-x (vmx)${inVirtualMachine ? "; this host is a VM" : ""}`,
        remedy: inVirtualMachine
          ? "Turn nested virtualization on for this VM at its host, and give it the CPU model of that."
          : "Turn virtualization (SVM, VT-x) on in the firmware.",
        neededFor: ["full-speed"],
      }
    : {
        subject,
        status: "ready",
        found: `${extension.name} (${extension.flag})${inVirtualMachine ? ", nested: this host is a VM itself" : ""}`,
        neededFor: ["full-speed"],
      };
}
