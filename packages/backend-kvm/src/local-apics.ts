import {
  type ApicMessage,
  apicBase,
  type BackendLocalApics,
  type ExternalInterrupts,
  type LocalApicState,
  localApicProblem,
  localApicRegister as register,
  type VirtualClock,
} from "@cpr/core";
import { kvmErrors } from "./errors.ts";
import type { KvmVm, Msi } from "./kvm-vm.ts";
import { readLocalApic, type StoppedTimer, timerMode, toMsi, writeLocalApic } from "./local-apic-page.ts";
import { readApicBase, writeApicBase } from "./processor-registers.ts";
import type { Vcpu } from "./vcpu.ts";

const tscDeadlineMsr = 0x6e0;

/** The kernel's local APICs (KVM_CAP_SPLIT_IRQCHIP, KVM api.rst §7.5), joined with the board's IOAPIC and 8259A pair. */
export class KvmLocalApics implements BackendLocalApics {
  onEndOfInterrupt: (vector: number) => void = () => undefined;
  readonly #vm: KvmVm;
  readonly #vcpus: readonly Vcpu[];
  readonly #clock: VirtualClock;
  readonly #timers: StoppedTimer[];
  /** States of power-on: the page of registers and IA32_APIC_BASE. */
  readonly #powerOn: readonly LocalApicState[];
  /** Level-triggered interrupts of the IOAPIC's pins, whose ends the kernel tells. */
  readonly #levels = new Map<number, Msi>();
  #external: ExternalInterrupts | undefined;

  constructor(vm: KvmVm, vcpus: readonly Vcpu[], clock: VirtualClock) {
    this.#vm = vm;
    this.#vcpus = vcpus;
    this.#clock = clock;
    this.#timers = vcpus.map(() => ({ currentCount: 0, tscDeadline: 0n }));
    this.#powerOn = vcpus.map((_, index) => this.save(index));
  }

  send(message: ApicMessage): void {
    this.#vm.signalMsi(toMsi(message));
  }

  route(pin: number, message: ApicMessage | undefined): void {
    const before = this.#levels.get(pin);
    const after = message?.trigger === "level" ? toMsi(message) : undefined;
    if (before?.address === after?.address && before?.data === after?.data) return;
    if (after === undefined) this.#levels.delete(pin);
    else this.#levels.set(pin, after);
    this.#vm.setRoutes(this.#levels);
  }

  connectExternal(external: ExternalInterrupts): void {
    this.#external = external;
    external.onChange = () => {
      // Outside the guest, serveExternal() is called anyway before it is entered.
      if (external.requested()) this.#vcpus[0]?.kick();
    };
  }

  /** Before the boot processor enters the guest: hands it the 8259A pair's interrupt, or asks to be told when it can take one. */
  serveExternal({ run, kvm }: Vcpu): void {
    const external = this.#external;
    if (external?.requested() === true && run.readyForInterrupt) {
      kvm.interrupt(external.acknowledge());
    }
    run.requestInterruptWindow = external?.requested() === true;
  }

  /** The vCPUs have stopped: reads what the timers are at. `settle` lets a timer that has fired become an interrupt request. */
  stop(settle: (vcpu: Vcpu) => void): void {
    for (const vcpu of this.#vcpus) {
      this.#timers[vcpu.index] = readTimer(vcpu, settle);
    }
  }

  /** Lets the timers go on, now that the time-stamp counters do. */
  start(): void {
    for (const { index, kvm } of this.#vcpus) {
      const { currentCount, tscDeadline } = this.#timers[index] as StoppedTimer;
      const page = kvm.lapic();
      page.setUint32(register.currentCount, currentCount, true);
      kvm.setLapic(page);
      if (tscDeadline !== 0n) kvm.setMsrs([{ index: tscDeadlineMsr, value: tscDeadline }]);
    }
  }

  save(processor: number): LocalApicState {
    const { kvm } = this.#vcpus[processor] as Vcpu;
    const base = readApicBase(kvm.sregs());
    const timer = this.#timers[processor] as StoppedTimer;
    return readLocalApic(kvm.lapic(), { base, timer, now: this.#clock.now() });
  }

  restore(processor: number, state: LocalApicState): void {
    const problem = localApicProblem(state, processor);
    if (problem !== undefined) {
      throw kvmErrors.ERR_CPR_KVM_STATE({ problem: `the local APIC of vCPU ${processor} has ${problem}` });
    }
    const { kvm } = this.#vcpus[processor] as Vcpu;
    const sregs = kvm.sregs();
    // The mode decides how the page is read; it is left by way of the disabled state.
    if ((readApicBase(sregs) & apicBase.x2apic) !== 0n && (state.apicBase & apicBase.x2apic) === 0n) {
      writeApicBase(sregs, state.apicBase & ~apicBase.enabled);
      kvm.setSregs(sregs);
    }
    writeApicBase(sregs, state.apicBase);
    kvm.setSregs(sregs);
    const page = kvm.lapic();
    this.#timers[processor] = writeLocalApic(page, state, this.#clock.now());
    // It counts from the start on.
    page.setUint32(register.currentCount, 0, true);
    kvm.setLapic(page);
    kvm.setMsrs([{ index: tscDeadlineMsr, value: 0n }]);
    const send = (deliveryMode: ApicMessage["deliveryMode"], vector = 0): void =>
      this.send({ destination: state.id, logical: false, deliveryMode, vector, trigger: "edge" });
    if (state.nmiPending) send("nmi");
    if (state.initPending) send("init");
    if (state.startupPending) send("startup", state.startupVector);
  }

  reset(processor: number): void {
    this.restore(processor, this.#powerOn[processor] as LocalApicState);
  }
}

/**
 * Reads a timer that goes on while it is read. In TSC-deadline mode the kernel remembers a deadline that has passed; in the other
 * modes a count that has ended is an interrupt request only after the vCPU was settled.
 */
function readTimer(vcpu: Vcpu, settle: (vcpu: Vcpu) => void): StoppedTimer {
  const { kvm } = vcpu;
  const [deadline] = kvm.msrs([tscDeadlineMsr]);
  const tscDeadline = deadline?.value ?? 0n;
  let page = kvm.lapic();
  const count = (): number => page.getUint32(register.currentCount, true);
  if (timerMode(page) === "tsc-deadline" || page.getUint32(register.initialCount, true) === 0) {
    return { currentCount: 0, tscDeadline };
  }
  let before: number;
  do {
    before = count();
    settle(vcpu);
    page = kvm.lapic();
    // It ended between the two: once more, so that the end is requested.
  } while (count() > before || (count() === 0 && before !== 0));
  return { currentCount: count(), tscDeadline };
}
