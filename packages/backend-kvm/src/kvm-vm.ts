import { addressOf } from "@cpr/native-mman";
import { KvmDescriptor, requests } from "./ioctl.ts";
import { KvmVcpu } from "./kvm-vcpu.ts";

/** An interrupt message as KVM takes it: what a device would write where (Intel SDM Vol. 3A §11.11). */
export interface Msi {
  readonly address: number;
  readonly data: number;
}

const msiRoute = 2;
const routeSize = 48;
const ioeventfdPio = 2;

/** A VM: its requests (KVM api.rst §4). */
export class KvmVm extends KvmDescriptor {
  /** KVM_ENABLE_CAP (§4.37). */
  enable(capability: number, argument: bigint): void {
    const view = new DataView(new ArrayBuffer(104));
    view.setUint32(0, capability, true);
    view.setBigUint64(8, argument, true);
    this.request(requests.enableCapability, new Uint8Array(view.buffer));
  }

  /** KVM_SET_TSS_ADDR (§4.36) and KVM_SET_IDENTITY_MAP_ADDR (§4.40): four pages below 4 GiB that Intel's processors need for real mode. */
  reserveRealModePages(address: number): void {
    const page = 4096;
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, BigInt(address), true);
    this.request(requests.setIdentityMapAddress, new Uint8Array(view.buffer));
    this.request(requests.setTssAddress, address + page);
  }

  /** KVM_SET_USER_MEMORY_REGION (§4.35): guest RAM at an address is the bytes of a view, which must stay where they are. */
  setMemory(slot: number, guestAddress: number, memory: Uint8Array): void {
    const view = new DataView(new ArrayBuffer(32));
    view.setUint32(0, slot, true);
    view.setBigUint64(8, BigInt(guestAddress), true);
    view.setBigUint64(16, BigInt(memory.length), true);
    view.setBigUint64(24, addressOf(memory), true);
    this.request(requests.setUserMemoryRegion, new Uint8Array(view.buffer));
  }

  /** KVM_CREATE_VCPU (§4.7); its APIC id is the index. */
  createVcpu(index: number): KvmVcpu {
    return new KvmVcpu(this.addon, this.request(requests.createVcpu, index));
  }

  /** KVM_SIGNAL_MSI (§4.70): brings a message to the local APICs. One that reaches none, or is impossible, has no effect. */
  signalMsi({ address, data }: Msi): void {
    const view = new DataView(new ArrayBuffer(32));
    view.setUint32(0, address, true);
    view.setUint32(8, data, true);
    this.attempt(requests.signalMsi, new Uint8Array(view.buffer));
  }

  /** KVM_SET_GSI_ROUTING (§4.52): which messages the IOAPIC's pins send, so that the end of a level-triggered one is told. */
  setRoutes(routes: ReadonlyMap<number, Msi>): void {
    const view = new DataView(new ArrayBuffer(8 + routes.size * routeSize));
    view.setUint32(0, routes.size, true);
    let at = 8;
    for (const [pin, { address, data }] of routes) {
      view.setUint32(at, pin, true);
      view.setUint32(at + 4, msiRoute, true);
      view.setUint32(at + 16, address, true);
      view.setUint32(at + 24, data, true);
      at += routeSize;
    }
    this.request(requests.setGsiRouting, new Uint8Array(view.buffer));
  }

  /** KVM_IOEVENTFD (§4.59): writes of any width to a port count an eventfd up instead of stopping the vCPU. */
  signalPort(port: number, eventfd: number): void {
    const view = new DataView(new ArrayBuffer(64));
    view.setBigUint64(8, BigInt(port), true);
    view.setInt32(20, eventfd, true);
    view.setUint32(24, ioeventfdPio, true);
    this.request(requests.ioeventfd, new Uint8Array(view.buffer));
  }

  /** KVM_GET_CLOCK (§4.29): what kvmclock tells the guest now, in nanoseconds. */
  clock(): bigint {
    const bytes = new Uint8Array(48);
    this.request(requests.getClock, bytes);
    return new DataView(bytes.buffer).getBigUint64(0, true);
  }

  /** KVM_SET_CLOCK (§4.30). */
  setClock(nanoseconds: bigint): void {
    const view = new DataView(new ArrayBuffer(48));
    view.setBigUint64(0, nanoseconds, true);
    this.request(requests.setClock, new Uint8Array(view.buffer));
  }
}
