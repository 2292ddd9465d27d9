import type { CpuidEntry } from "@cpr/core";
import { addressOf } from "@cpr/native-mman";
import { KvmDescriptor, type Request, requests } from "./ioctl.ts";

const significantIndex = 1;
const cpuidEntrySize = 40;
const msrEntrySize = 16;
/** KVM_VCPU_TSC_CTRL and KVM_VCPU_TSC_OFFSET (KVM devices/vcpu.rst §4.1). */
const tscControlGroup = 0;
const tscOffsetAttribute = 0;

/** A model-specific register and its value. */
export interface MsrValue {
  readonly index: number;
  readonly value: bigint;
}

/** A vCPU: its requests (KVM api.rst §4). The structures are the kernel's, as bytes; vcpu-structures.ts knows what is in them. */
export class KvmVcpu extends KvmDescriptor {
  /** KVM_SET_CPUID2 (§4.20). */
  setCpuid(entries: readonly CpuidEntry[]): void {
    const view = new DataView(new ArrayBuffer(8 + entries.length * cpuidEntrySize));
    view.setUint32(0, entries.length, true);
    for (const [index, { leaf, subleaf, eax, ebx, ecx, edx }] of entries.entries()) {
      const at = 8 + index * cpuidEntrySize;
      const words = [leaf, subleaf ?? 0, subleaf === undefined ? 0 : significantIndex, eax, ebx, ecx, edx];
      words.forEach((word, place) => {
        view.setUint32(at + 4 * place, word, true);
      });
    }
    this.request(requests.setCpuid2, new Uint8Array(view.buffer));
  }

  /** KVM_GET_TSC_KHZ (§4.56). */
  tscKhz(): number {
    return this.request(requests.getTscKhz);
  }

  /** KVM_SET_TSC_KHZ (§4.55). */
  setTscKhz(frequency: number): void {
    this.request(requests.setTscKhz, frequency);
  }

  /** KVM_GET_REGS (§4.11). */
  regs(): DataView {
    return this.#get(requests.getRegs, 144);
  }
  /** KVM_SET_REGS (§4.12). */
  setRegs(view: DataView): void {
    this.#set(requests.setRegs, view);
  }

  /** KVM_GET_SREGS (§4.13). */
  sregs(): DataView {
    return this.#get(requests.getSregs, 312);
  }
  /** KVM_SET_SREGS (§4.14). */
  setSregs(view: DataView): void {
    this.#set(requests.setSregs, view);
  }

  /** KVM_GET_XSAVE (§4.42). */
  xsave(): DataView {
    return this.#get(requests.getXsave, 4096);
  }
  /** KVM_SET_XSAVE (§4.43). */
  setXsave(view: DataView): void {
    this.#set(requests.setXsave, view);
  }

  /** KVM_GET_XCRS (§4.44). */
  xcrs(): DataView {
    return this.#get(requests.getXcrs, 392);
  }
  /** KVM_SET_XCRS (§4.45). */
  setXcrs(view: DataView): void {
    this.#set(requests.setXcrs, view);
  }

  /** KVM_GET_DEBUGREGS (§4.33). */
  debugRegs(): DataView {
    return this.#get(requests.getDebugRegs, 128);
  }
  /** KVM_SET_DEBUGREGS (§4.34). */
  setDebugRegs(view: DataView): void {
    this.#set(requests.setDebugRegs, view);
  }

  /** KVM_GET_VCPU_EVENTS (§4.31). */
  events(): DataView {
    return this.#get(requests.getVcpuEvents, 64);
  }
  /** KVM_SET_VCPU_EVENTS (§4.32). */
  setEvents(view: DataView): void {
    this.#set(requests.setVcpuEvents, view);
  }

  /** KVM_GET_LAPIC (§4.57). */
  lapic(): DataView {
    return this.#get(requests.getLapic, 1024);
  }
  /** KVM_SET_LAPIC (§4.58). */
  setLapic(view: DataView): void {
    this.#set(requests.setLapic, view);
  }

  /** KVM_GET_MP_STATE (§4.38). */
  mpState(): number {
    return this.#get(requests.getMpState, 4).getUint32(0, true);
  }
  /** KVM_SET_MP_STATE (§4.39). */
  setMpState(state: number): void {
    const view = new DataView(new ArrayBuffer(4));
    view.setUint32(0, state, true);
    this.#set(requests.setMpState, view);
  }

  /** KVM_INTERRUPT (§4.16): queues an interrupt of the 8259A pair; only when kvm_run says that the vCPU is ready for it. */
  interrupt(vector: number): void {
    const view = new DataView(new ArrayBuffer(4));
    view.setUint32(0, vector, true);
    this.#set(requests.interrupt, view);
  }

  /** KVM_GET_MSRS (§4.18). @throws {CprError} if one of them cannot be read. */
  msrs(indices: readonly number[]): readonly MsrValue[] {
    const view = msrList(indices.map((index) => ({ index, value: 0n })));
    this.#count(requests.getMsrs, view, indices.length);
    return indices.map((index, place) => ({ index, value: view.getBigUint64(8 + place * msrEntrySize + 8, true) }));
  }

  /** Whether KVM_GET_MSRS (§4.18) can read a register. */
  hasMsr(index: number): boolean {
    return this.attempt(requests.getMsrs, new Uint8Array(msrList([{ index, value: 0n }]).buffer)) === 1;
  }

  /** KVM_SET_MSRS (§4.19). Gives the index of the first one that cannot have its value: those behind it are as they were. */
  setMsrs(values: readonly MsrValue[]): number | undefined {
    const done = this.request(requests.setMsrs, new Uint8Array(msrList(values).buffer));
    return values[done]?.index;
  }

  /** What the guest's time-stamp counter is ahead of the host's (KVM devices/vcpu.rst §4.1), or undefined on Linux before 5.16. */
  tscOffset(): bigint | undefined {
    const value = new Uint8Array(8);
    const attribute = tscOffset(value);
    if (this.attempt(requests.hasDeviceAttribute, attribute) < 0) return undefined;
    this.request(requests.getDeviceAttribute, attribute);
    return new DataView(value.buffer).getBigUint64(0, true);
  }
  /** Sets it; only where it can be asked for. */
  setTscOffset(offset: bigint): void {
    const value = new Uint8Array(8);
    new DataView(value.buffer).setBigUint64(0, offset, true);
    this.request(requests.setDeviceAttribute, tscOffset(value));
  }

  #count(request: Request, view: DataView, expected: number): void {
    const done = this.request(request, new Uint8Array(view.buffer));
    if (done !== expected) {
      throw new RangeError(
        `${request.name} knows no register 0x${view.getUint32(8 + done * msrEntrySize, true).toString(16)}`,
      );
    }
  }

  #get(request: Request, size: number): DataView {
    const bytes = new Uint8Array(size);
    this.request(request, bytes);
    return new DataView(bytes.buffer);
  }

  #set(request: Request, view: DataView): void {
    this.request(request, new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
  }
}

function msrList(values: readonly MsrValue[]): DataView {
  const view = new DataView(new ArrayBuffer(8 + values.length * msrEntrySize));
  view.setUint32(0, values.length, true);
  for (const [place, { index, value }] of values.entries()) {
    view.setUint32(8 + place * msrEntrySize, index, true);
    view.setBigUint64(8 + place * msrEntrySize + 8, value, true);
  }
  return view;
}

/** `struct kvm_device_attr` that names the TSC offset and where its value is. NOTE: the value must live as long as it is used. */
function tscOffset(value: Uint8Array): Uint8Array {
  const view = new DataView(new ArrayBuffer(24));
  view.setUint32(4, tscControlGroup, true);
  view.setBigUint64(8, BigInt(tscOffsetAttribute), true);
  view.setBigUint64(16, addressOf(value), true);
  return new Uint8Array(view.buffer);
}
