import { getSystemErrorMessage, getSystemErrorName } from "node:util";
import type { Addon } from "./addon.ts";
import { kvmErrors } from "./errors.ts";

/** One of KVM's requests: its number, and where the documentation has it. */
export interface Request {
  readonly name: string;
  readonly code: number;
  /** Section of Documentation/virt/kvm/api.rst. */
  readonly section: string;
}

const kvm = 0xae;
const none = 0;
const write = 1;
const read = 2;

/** Number of an ioctl request (Linux asm-generic/ioctl.h). The size is that of the structure, without an array behind it. */
function encode(direction: number, number: number, size: number): number {
  return ((direction << 30) | (size << 16) | (kvm << 8) | number) >>> 0;
}

const plain = (name: string, section: string, number: number): Request => ({
  name,
  section,
  code: encode(none, number, 0),
});
const takes = (name: string, section: string, number: number, size: number): Request => ({
  name,
  section,
  code: encode(write, number, size),
});
const gives = (name: string, section: string, number: number, size: number): Request => ({
  name,
  section,
  code: encode(read, number, size),
});
const both = (name: string, section: string, number: number, size: number): Request => ({
  name,
  section,
  code: encode(write | read, number, size),
});

/** The requests that are made, with the sizes of their structures in the ABI of x86-64. */
export const requests = {
  getApiVersion: plain("KVM_GET_API_VERSION", "§4.1", 0x00),
  createVm: plain("KVM_CREATE_VM", "§4.2", 0x01),
  checkExtension: plain("KVM_CHECK_EXTENSION", "§4.4", 0x03),
  getVcpuMmapSize: plain("KVM_GET_VCPU_MMAP_SIZE", "§4.5", 0x04),
  getSupportedCpuid: both("KVM_GET_SUPPORTED_CPUID", "§4.46", 0x05, 8),
  getMsrIndexList: both("KVM_GET_MSR_INDEX_LIST", "§4.3", 0x02, 4),

  createVcpu: plain("KVM_CREATE_VCPU", "§4.7", 0x41),
  setUserMemoryRegion: takes("KVM_SET_USER_MEMORY_REGION", "§4.35", 0x46, 32),
  setTssAddress: plain("KVM_SET_TSS_ADDR", "§4.36", 0x47),
  setIdentityMapAddress: takes("KVM_SET_IDENTITY_MAP_ADDR", "§4.40", 0x48, 8),
  setGsiRouting: takes("KVM_SET_GSI_ROUTING", "§4.52", 0x6a, 8),
  ioeventfd: takes("KVM_IOEVENTFD", "§4.59", 0x79, 64),
  setClock: takes("KVM_SET_CLOCK", "§4.30", 0x7b, 48),
  getClock: gives("KVM_GET_CLOCK", "§4.29", 0x7c, 48),
  enableCapability: takes("KVM_ENABLE_CAP", "§4.37", 0xa3, 104),
  signalMsi: takes("KVM_SIGNAL_MSI", "§4.70", 0xa5, 32),

  getRegs: gives("KVM_GET_REGS", "§4.11", 0x81, 144),
  setRegs: takes("KVM_SET_REGS", "§4.12", 0x82, 144),
  getSregs: gives("KVM_GET_SREGS", "§4.13", 0x83, 312),
  setSregs: takes("KVM_SET_SREGS", "§4.14", 0x84, 312),
  interrupt: takes("KVM_INTERRUPT", "§4.16", 0x86, 4),
  getMsrs: both("KVM_GET_MSRS", "§4.18", 0x88, 8),
  setMsrs: takes("KVM_SET_MSRS", "§4.19", 0x89, 8),
  getLapic: gives("KVM_GET_LAPIC", "§4.57", 0x8e, 1024),
  setLapic: takes("KVM_SET_LAPIC", "§4.58", 0x8f, 1024),
  setCpuid2: takes("KVM_SET_CPUID2", "§4.20", 0x90, 8),
  getMpState: gives("KVM_GET_MP_STATE", "§4.38", 0x98, 4),
  setMpState: takes("KVM_SET_MP_STATE", "§4.39", 0x99, 4),
  getVcpuEvents: gives("KVM_GET_VCPU_EVENTS", "§4.31", 0x9f, 64),
  setVcpuEvents: takes("KVM_SET_VCPU_EVENTS", "§4.32", 0xa0, 64),
  getDebugRegs: gives("KVM_GET_DEBUGREGS", "§4.33", 0xa1, 128),
  setDebugRegs: takes("KVM_SET_DEBUGREGS", "§4.34", 0xa2, 128),
  setTscKhz: plain("KVM_SET_TSC_KHZ", "§4.55", 0xa2),
  getTscKhz: plain("KVM_GET_TSC_KHZ", "§4.56", 0xa3),
  getXsave: gives("KVM_GET_XSAVE", "§4.42", 0xa4, 4096),
  setXsave: takes("KVM_SET_XSAVE", "§4.43", 0xa5, 4096),
  getXcrs: gives("KVM_GET_XCRS", "§4.44", 0xa6, 392),
  setXcrs: takes("KVM_SET_XCRS", "§4.45", 0xa7, 392),
  setDeviceAttribute: takes("KVM_SET_DEVICE_ATTR", "§4.80", 0xe1, 24),
  getDeviceAttribute: takes("KVM_GET_DEVICE_ATTR", "§4.80", 0xe2, 24),
  hasDeviceAttribute: takes("KVM_HAS_DEVICE_ATTR", "§4.81", 0xe3, 24),
} as const satisfies Readonly<Record<string, Request>>;

/** What a request that failed is told as. */
export function ioctlError({ name, section }: Request, errno: number) {
  return kvmErrors.ERR_CPR_KVM_IOCTL({
    request: name,
    section,
    errno: getSystemErrorName(errno),
    description: getSystemErrorMessage(errno),
  });
}

/** An open descriptor of KVM's: the device, a VM or a vCPU. Subclasses have one method for each request. */
export abstract class KvmDescriptor {
  protected readonly addon: Addon;
  readonly descriptor: number;

  constructor(addon: Addon, descriptor: number) {
    this.addon = addon;
    this.descriptor = descriptor;
  }

  /**
   * Makes a request.
   *
   * @throws {CprError} ERR_CPR_KVM_IOCTL
   */
  protected request(request: Request, argument: number | Uint8Array = 0): number {
    const result = this.attempt(request, argument);
    if (result < 0) {
      throw ioctlError(request, result);
    }
    return result;
  }

  /** Makes a request and gives what the kernel says: a negated errno if it failed. */
  protected attempt(request: Request, argument: number | Uint8Array = 0): number {
    return this.addon.ioctl(this.descriptor, request.code, argument);
  }

  close(): void {
    this.addon.close(this.descriptor);
  }
}
