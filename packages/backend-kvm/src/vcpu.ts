import type { CpuidEntry } from "@cpr/core";
import { type Addon, threadState, type VcpuHub, type VcpuThread } from "./addon.ts";
import type { KvmVcpu } from "./kvm-vcpu.ts";
import type { KvmVm } from "./kvm-vm.ts";
import { RunPage } from "./run-page.ts";

/** What a vCPU is made from. */
export interface VcpuOptions {
  readonly addon: Addon;
  readonly vm: KvmVm;
  readonly hub: VcpuHub;
  readonly index: number;
  readonly cpuid: readonly CpuidEntry[];
  /** Bytes of the pages that it shares with the kernel. */
  readonly runSize: number;
  /** Nanoseconds that its thread looks for the answer to an exit before it sleeps. */
  readonly spin: number;
}

/** A vCPU: its descriptor, its thread, and what both tell. */
export class Vcpu {
  readonly index: number;
  readonly kvm: KvmVcpu;
  readonly run: RunPage;
  readonly #thread: VcpuThread;
  /** It has failed: it does not execute until it is resumed from a stop. */
  failed = false;

  constructor({ addon, vm, hub, index, cpuid, runSize, spin }: VcpuOptions) {
    this.index = index;
    this.kvm = vm.createVcpu(index);
    this.kvm.setCpuid(cpuid);
    this.#thread = new addon.VcpuThread(hub, this.kvm.descriptor, index, runSize, spin);
    this.run = new RunPage(this.#thread.runPage);
  }

  /** It executes nothing and waits for nothing. */
  get parked(): boolean {
    return this.failed || this.#thread.state === threadState.parked;
  }

  /** It has left KVM_RUN and waits for {@link resume}. */
  get exited(): boolean {
    return this.#thread.state === threadState.exited;
  }

  /** What KVM_RUN returned: 0, or a negated errno. */
  get outcome(): number {
    return this.#thread.outcome;
  }

  resume(): void {
    this.failed = false;
    this.#thread.resume();
  }

  kick(): void {
    this.#thread.kick();
  }

  stop(): void {
    if (!this.failed) this.#thread.stop();
  }

  close(): void {
    this.#thread.close();
    this.kvm.close();
  }
}
