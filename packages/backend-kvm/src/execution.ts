import { availableParallelism, constants } from "node:os";
import {
  cpuidEntries,
  type Execution,
  type ExecutionContext,
  type ProcessorModel,
  type ProcessorState,
  processorSignature,
  processorStateProblem,
  savedMsrs,
  serializeError,
  unusedMsr,
  xcr0Of,
} from "@cpr/core";
import type { Addon, VcpuHub } from "./addon.ts";
import { kvmErrors } from "./errors.ts";
import { serveMmio, servePorts } from "./exits.ts";
import { failureOf, failureReport } from "./failures.ts";
import { GuestClock } from "./guest-clock.ts";
import { capability, type KvmDevice } from "./kvm-device.ts";
import type { MsrValue } from "./kvm-vcpu.ts";
import type { KvmVm } from "./kvm-vm.ts";
import { KvmLocalApics } from "./local-apics.ts";
import { availableMsrs, restoreProcessor, saveProcessor } from "./processor-checkpoint.ts";
import { exitReason } from "./run-page.ts";
import { Vcpu } from "./vcpu.ts";

/** Pins of the board's IOAPIC. */
const ioapicPins = 24n;
/** Four pages below 4 GiB, in the hole for devices, that no device of the board claims. */
const realModePages = 0xfffb_c000;
/** Milliseconds that exits are served before the thread looks at its messages. */
const turn = 1;
/**
 * Nanoseconds that threads spin for each other, where the host has more than one CPU: this one for the next exit before it
 * goes back to its event loop, at most and at least; a vCPU's for the answer to an exit, about what a sleep costs.
 */
const longestSpin = 50_000;
const shortestSpin = 1_000;
const answerSpin = 20_000;
/** Nanoseconds below which a timer is waited for exactly; the event loop's have a granularity of a millisecond. */
const exactWait = 1_000_000;
/** As many doorbells the addon knows; writes to others are served as exits. */
const mostDoorbells = 32;
/** Nanoseconds that a stop of the vCPUs is waited for before other work gets its turn. */
const stopWait = 2_000_000;

/** What a VM on KVM is made from, beside what every backend is told. */
export interface KvmOptions {
  readonly addon: Addon;
  readonly device: KvmDevice;
  readonly model: ProcessorModel;
}

/**
 * Executes vCPUs on threads of their own. This thread serves their exits: in turns of about a millisecond, in which it spins for
 * the next exit as long as exits keep coming, between which the thread's other work gets its chance. With nothing to serve it
 * sleeps in the event loop until a vCPU exits or a device's timer is due.
 */
export class KvmExecution implements Execution {
  readonly localApics: KvmLocalApics;
  readonly #context: ExecutionContext;
  readonly #addon: Addon;
  readonly #model: ProcessorModel;
  readonly #vm: KvmVm;
  readonly #hub: VcpuHub;
  readonly #vcpus: readonly Vcpu[];
  readonly #clock: GuestClock;
  readonly #scalesTsc: boolean;
  readonly #msrs: readonly number[];
  readonly #powerOn: readonly ProcessorState[];
  readonly #eventfds: number[] = [];
  #doorbells: readonly number[] = [];
  #portsSignalled = false;
  #running = false;
  /** The clocks go on: they do from the start until all vCPUs have stopped. */
  #clocksRun = false;
  #inTurn = false;
  #current = 0;
  readonly #longestSpin: number;
  #spin = 0;
  #immediate: NodeJS.Immediate | undefined;
  #timeout: NodeJS.Timeout | undefined;
  #paused: (() => void)[] = [];

  constructor(context: ExecutionContext, { addon, device, model }: KvmOptions) {
    this.#context = context;
    this.#addon = addon;
    this.#model = model;
    this.#vm = device.createVm();
    this.#vm.reserveRealModePages(realModePages);
    this.#vm.enable(capability.splitIrqchip, ioapicPins);
    const { memory, processorCount: count } = context;
    for (const [slot, { guestAddress, size, offset }] of memory.regions.entries()) {
      this.#vm.setMemory(slot, guestAddress, memory.bytes.subarray(offset, offset + size));
    }
    this.#hub = new addon.VcpuHub(() => this.#turn());
    context.bus.mmio.onDoorbellsChange = () => this.#listen();
    const runSize = device.vcpuMmapSize();
    const spins = availableParallelism() > 1;
    this.#longestSpin = spins ? longestSpin : 0;
    const spin = spins ? answerSpin : 0;
    this.#vcpus = Array.from({ length: count }, (_, index) => {
      const cpuid = cpuidEntries(model, { index, count });
      return new Vcpu({ addon, vm: this.#vm, hub: this.#hub, index, cpuid, runSize, spin });
    });
    this.#scalesTsc = device.extension(capability.tscControl) !== 0;
    const kvmVcpus = this.#vcpus.map(({ kvm }) => kvm);
    const frequency = Math.round(context.tscFrequency / 1000);
    if (this.#scalesTsc) for (const kvm of kvmVcpus) kvm.setTscKhz(frequency);
    this.#clock = new GuestClock(this.#vm, kvmVcpus);
    this.#msrs = availableMsrs((this.#vcpus[0] as Vcpu).kvm, device.msrIndices());
    this.localApics = new KvmLocalApics(this.#vm, this.#vcpus, context.clock);
    this.#powerOn = this.#vcpus.map(({ index }) => this.#powerOnState(index));
    for (const { index } of this.#vcpus) this.resetProcessor(index);
  }

  attachInterrupts(): void {
    throw new TypeError("the local APICs are this backend's own");
  }

  start(): void {
    if (this.#running) return;
    this.#signalPorts();
    this.#running = true;
    if (!this.#clocksRun) {
      this.#clocksRun = true;
      this.#clock.start();
      this.localApics.start();
    }
    for (const vcpu of this.#vcpus) {
      // One that is still on its way to a stop goes on when it gets there.
      if (vcpu.parked) this.#enter(vcpu);
    }
    this.#schedule();
  }

  pause(): Promise<void> {
    if (!this.#running && !this.#stopping()) return Promise.resolve();
    this.#running = false;
    for (const vcpu of this.#vcpus) vcpu.stop();
    const stopped = new Promise<void>((resolve) => {
      this.#paused.push(resolve);
    });
    if (!this.#inTurn) this.#turn();
    return stopped;
  }

  kick(): void {
    if (!this.#inTurn && this.#running) this.#schedule();
  }

  saveProcessor(processor: number): ProcessorState {
    const { kvm } = this.#vcpus[processor] as Vcpu;
    const clockMsrs = this.#clock.msrsOf(processor);
    const msrs = [...GuestClock.without(kvm.msrs(this.#msrs)), ...clockMsrs];
    return saveProcessor(kvm, msrs, xcr0Of(this.#model), this.#clock.save(processor));
  }

  checkProcessor(_processor: number, state: ProcessorState): void {
    const problem =
      processorStateProblem(state, this.#model) ??
      this.#msrProblem(state) ??
      this.#clock.problem(state, this.#scalesTsc);
    if (problem !== undefined) {
      throw kvmErrors.ERR_CPR_KVM_STATE({ problem });
    }
  }

  restoreProcessor(processor: number, state: ProcessorState): void {
    this.checkProcessor(processor, state);
    const before = this.saveProcessor(processor);
    try {
      this.#restore(processor, state);
    } catch (error) {
      this.#restore(processor, before);
      throw error;
    }
  }

  resetProcessor(processor: number): void {
    this.#restore(processor, { ...(this.#powerOn[processor] as ProcessorState), ...this.#clock.reset(processor) });
  }

  currentProcessor(): number {
    return this.#current;
  }

  async close(): Promise<void> {
    await this.pause();
    this.#unschedule();
    for (const vcpu of this.#vcpus) vcpu.close();
    this.#hub.close();
    this.#vm.close();
    for (const descriptor of this.#eventfds) this.#addon.close(descriptor);
  }

  /** What KVM gives after its making, with what the CPU model says: the processor's signature in EDX (Intel SDM Vol. 3A table 10-1). */
  #powerOnState(processor: number): ProcessorState {
    const state = this.saveProcessor(processor);
    const edx = 2;
    return {
      ...state,
      registers: state.registers.map((value, index) => (index === edx ? BigInt(processorSignature) : value)),
    };
  }

  #restore(processor: number, state: ProcessorState): void {
    const { kvm } = this.#vcpus[processor] as Vcpu;
    const given = new Map(state.msrs.map(({ index, value }) => [index, value]));
    const msrs = this.#msrs.map(
      (index): MsrValue => ({ index, value: given.get(index) ?? savedMsrs.get(index) ?? 0n }),
    );
    restoreProcessor(kvm, GuestClock.without(msrs), state);
    this.#clock.restore(processor, state, msrs);
  }

  /** A register that this host's KVM lacks can only have the value that it has after reset. */
  #msrProblem({ msrs }: ProcessorState): string | undefined {
    const lacking = msrs.find(
      ({ index, value }) => index !== unusedMsr && !this.#msrs.includes(index) && value !== savedMsrs.get(index),
    );
    return lacking === undefined ? undefined : `this host's KVM lacks MSR 0x${lacking.index.toString(16)}`;
  }

  /** Ports whose writes have no effect need not stop the guest. */
  #signalPorts(): void {
    if (this.#portsSignalled) return;
    this.#portsSignalled = true;
    for (const { base, length } of this.#context.bus.ports.ignoredWrites()) {
      for (let port = base; port < base + length; port++) {
        const descriptor = this.#addon.eventfd();
        if (descriptor < 0) return;
        this.#eventfds.push(descriptor);
        this.#vm.signalPort(port, descriptor);
      }
    }
  }

  #stopping(): boolean {
    return this.#vcpus.some((vcpu) => !vcpu.parked);
  }

  #schedule(): void {
    this.#immediate ??= setImmediate(() => this.#turn());
  }

  #unschedule(): void {
    clearImmediate(this.#immediate);
    clearTimeout(this.#timeout);
    this.#immediate = undefined;
    this.#timeout = undefined;
  }

  /** Serves exits and timers for a while, and arranges for the next turn. */
  #turn(): void {
    if (this.#inTurn) return;
    this.#unschedule();
    this.#inTurn = true;
    try {
      this.#serve();
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#inTurn = false;
    }
    this.#resolvePauses();
  }

  #serve(): void {
    const { timers } = this.#context;
    const end = performance.now() + turn;
    for (;;) {
      if (this.#running) timers.runDue();
      const told = this.#hub.take(this.#running ? this.#spin : 0, this.#running ? 0 : this.#stopping() ? stopWait : 0);
      if (this.#answerDoorbells() || told !== 0) {
        this.#spin = Math.min(2 * this.#spin + shortestSpin, this.#longestSpin);
        this.#serveAll(told);
      } else if (!this.#running) {
        // Stopped, or not yet: then the vCPU that is late wakes us.
        if (!this.#stopping() || this.#hub.idle()) return;
      } else {
        this.#spin = this.#spin >> 1;
        if (!this.#waitForTimer() && this.#hub.idle()) return;
      }
      if (performance.now() >= end && this.#running) {
        this.#schedule();
        return;
      }
      if (!this.#running && !this.#stopping()) return;
    }
  }

  /** Waits for a timer that is due soon, and tells so; for a later one, sets the event loop's. */
  #waitForTimer(): boolean {
    const { clock, timers } = this.#context;
    const deadline = timers.nextDeadline();
    if (deadline === undefined) return false;
    const left = deadline - clock.now();
    if (left > exactWait) {
      this.#timeout = setTimeout(() => this.#turn(), Math.floor((left - exactWait / 2) / 1e6));
      return false;
    }
    if (left > 0) {
      const told = this.#hub.take(0, left);
      this.#answerDoorbells();
      if (told !== 0) this.#serveAll(told);
    }
    return true;
  }

  /** Rings for the guest, which has gone on. Of a VM that is stopped the devices look for themselves when it goes on. */
  #answerDoorbells(): boolean {
    const rung = this.#hub.takeRung();
    for (const [index, address] of this.#doorbells.entries()) {
      if (((rung >>> index) & 1) === 1) this.#context.bus.mmio.write(address, 2, 0);
    }
    return rung !== 0;
  }

  /** Doorbells have come or gone. What was rung before is for the old ones, so that all new ones are rung. */
  #listen(): void {
    const { mmio } = this.#context.bus;
    this.#doorbells = mmio.doorbells().slice(0, mostDoorbells);
    this.#hub.listen(Float64Array.from(this.#doorbells));
    this.#hub.takeRung();
    setImmediate(() => {
      for (const address of this.#doorbells) mmio.write(address, 2, 0);
    });
  }

  #serveAll(told: number): void {
    for (const vcpu of this.#vcpus) {
      if (((told >>> vcpu.index) & 1) === 1 && vcpu.exited) this.#serveExit(vcpu);
      // It had stopped, but the guest has been told to go on meanwhile.
      else if (this.#running && vcpu.parked && !vcpu.failed) this.#enter(vcpu);
    }
  }

  #serveExit(vcpu: Vcpu): void {
    const { run, outcome, index } = vcpu;
    this.#current = index;
    if (outcome !== -constants.errno.EINTR) {
      const failure = failureOf(outcome, run);
      if (failure !== undefined) {
        vcpu.failed = true;
        const { kind, reason } = failure;
        this.#running = false;
        for (const other of this.#vcpus) other.stop();
        const report = failureReport(reason, index, this.saveProcessor(index));
        this.#context.onEvent({ kind, processor: index, report });
        return;
      }
      switch (run.exitReason) {
        case exitReason.io:
          servePorts(this.#context.bus, run);
          break;
        case exitReason.mmio:
          serveMmio(this.#context.bus, run);
          break;
        case exitReason.ioapicEoi:
          this.localApics.onEndOfInterrupt(run.endedVector);
          break;
        default:
      }
    }
    this.#enter(vcpu);
  }

  #enter(vcpu: Vcpu): void {
    // While the VM is being stopped, the vCPU only ends what it has begun.
    if (vcpu.index === 0 && this.#running) this.localApics.serveExternal(vcpu);
    vcpu.resume();
  }

  /** All vCPUs have stopped: so do the clocks. */
  #resolvePauses(): void {
    if (this.#running || this.#stopping()) return;
    if (this.#clocksRun) {
      this.#clocksRun = false;
      this.#clock.stop();
      this.localApics.stop((vcpu) => this.#settle(vcpu));
    }
    for (const resolve of this.#paused.splice(0)) {
      resolve();
    }
  }

  /** Lets the kernel do what it owes a vCPU, which executes nothing meanwhile. */
  #settle(vcpu: Vcpu): void {
    if (vcpu.failed) return;
    vcpu.stop();
    vcpu.resume();
    while (!vcpu.parked) {
      this.#hub.take(0, stopWait);
    }
  }

  #fail(error: unknown): void {
    this.#running = false;
    for (const vcpu of this.#vcpus) vcpu.stop();
    const { message, stack } = serializeError(error);
    this.#context.onEvent({ kind: "internal-error", processor: this.#current, report: stack ?? message });
  }
}
