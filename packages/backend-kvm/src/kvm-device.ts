import type { CpuidEntry } from "@cpr/core";
import { KvmDescriptor, requests } from "./ioctl.ts";
import { KvmVm } from "./kvm-vm.ts";

/** Extensions by their numbers (Linux include/uapi/linux/kvm.h). */
export const capability = {
  vcpuEvents: 41,
  nrVcpus: 9,
  nrMemslots: 10,
  mpState: 14,
  setTssAddress: 4,
  irqRouting: 25,
  ioeventfd: 36,
  setIdentityMapAddress: 37,
  adjustClock: 39,
  debugRegs: 50,
  xsave: 55,
  xcrs: 56,
  tscControl: 60,
  getTscKhz: 61,
  maxVcpus: 66,
  tscDeadlineTimer: 72,
  signalMsi: 77,
  splitIrqchip: 121,
  immediateExit: 136,
  ioeventfdAnyLength: 122,
  enableCapVm: 98,
} as const;

/** What this backend needs, by the names of KVM's documentation. */
export const neededExtensions: Readonly<Record<string, number>> = {
  KVM_CAP_SPLIT_IRQCHIP: capability.splitIrqchip,
  KVM_CAP_IMMEDIATE_EXIT: capability.immediateExit,
  KVM_CAP_SIGNAL_MSI: capability.signalMsi,
  KVM_CAP_IRQ_ROUTING: capability.irqRouting,
  KVM_CAP_MP_STATE: capability.mpState,
  KVM_CAP_VCPU_EVENTS: capability.vcpuEvents,
  KVM_CAP_DEBUGREGS: capability.debugRegs,
  KVM_CAP_XSAVE: capability.xsave,
  KVM_CAP_XCRS: capability.xcrs,
  KVM_CAP_SET_TSS_ADDR: capability.setTssAddress,
  KVM_CAP_SET_IDENTITY_MAP_ADDR: capability.setIdentityMapAddress,
  KVM_CAP_ADJUST_CLOCK: capability.adjustClock,
  KVM_CAP_GET_TSC_KHZ: capability.getTscKhz,
};

const significantIndex = 1;
const entrySize = 40;
const mostEntries = 256;
const mostMsrs = 4096;

/** `/dev/kvm`: the requests of the whole system (KVM api.rst §4). */
export class KvmDevice extends KvmDescriptor {
  /** KVM_GET_API_VERSION (§4.1): 12 since Linux 2.6.22. */
  apiVersion(): number {
    return this.request(requests.getApiVersion);
  }

  /** KVM_CHECK_EXTENSION (§4.4): 0 if it is not there. */
  extension(number: number): number {
    return this.request(requests.checkExtension, number);
  }

  /** KVM_CREATE_VM (§4.2). */
  createVm(): KvmVm {
    return new KvmVm(this.addon, this.request(requests.createVm));
  }

  /** KVM_GET_VCPU_MMAP_SIZE (§4.5): bytes of a vCPU's shared pages. */
  vcpuMmapSize(): number {
    return this.request(requests.getVcpuMmapSize);
  }

  /** KVM_GET_SUPPORTED_CPUID (§4.46): what processor and kernel can give a guest. */
  supportedCpuid(): readonly CpuidEntry[] {
    const bytes = new Uint8Array(8 + mostEntries * entrySize);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, mostEntries, true);
    this.request(requests.getSupportedCpuid, bytes);
    return Array.from({ length: view.getUint32(0, true) }, (_, index) => {
      const at = 8 + index * entrySize;
      const field = (offset: number): number => view.getUint32(at + offset, true);
      const indexed = (field(8) & significantIndex) !== 0;
      const [eax, ebx, ecx, edx] = [12, 16, 20, 24].map(field) as [number, number, number, number];
      return { leaf: field(0), subleaf: indexed ? field(4) : undefined, eax, ebx, ecx, edx };
    });
  }

  /** KVM_GET_MSR_INDEX_LIST (§4.3): model-specific registers that can be saved, without those that every KVM has (MTRRs). */
  msrIndices(): ReadonlySet<number> {
    const bytes = new Uint8Array(4 + mostMsrs * 4);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, mostMsrs, true);
    this.request(requests.getMsrIndexList, bytes);
    return new Set(Array.from({ length: view.getUint32(0, true) }, (_, index) => view.getUint32(4 + 4 * index, true)));
  }
}
