import {
  type ApicBus,
  type ApicMessage,
  apicBase,
  type Device,
  type DeviceContext,
  type DeviceModel,
  deliveryModes,
  type ExternalInterrupts,
  type LocalApic,
  type LocalApicState,
  localApicProblem,
  localApicState,
  localApicTimerMode,
  localVectors,
  type ProcessorEvent,
  localApicRegister as register,
  type TimestampCounterRate,
} from "@cpr/core";
import { deviceErrors } from "../errors.ts";
import { Properties } from "../properties.ts";
import { stateCheckpoint } from "../state-checkpoint.ts";
import { ApicTimer } from "./apic-timer.ts";
import { isDestination, x2apicLogicalId } from "./destination.ts";
import { decodeCommand, writableCommand } from "./interrupt-command.ts";
import { errorStatus, localVector, msr, spurious, vectorTable, version } from "./registers.ts";
import { VectorSet } from "./vector-set.ts";
import { isX2apicReadable, x2apicWriteFaults } from "./x2apic.ts";

const allOnes = 0xffff_ffff;
/** What a local vector table entry holds after power-on. */
const masked = localVector.masked;

/**
 * The local APIC of one vCPU (Intel SDM Vol. 3A chapter 11): xAPIC registers and x2APIC MSRs, priorities, the local
 * vector table with the timer, interprocessor interrupts, and the virtual wire through which the 8259A pair reaches
 * the boot processor.
 */
class ProcessorApic implements Device, LocalApic {
  readonly id: string;
  onChange: () => void = () => undefined;
  readonly checkpoint = stateCheckpoint(
    localApicState,
    () => this.#save(),
    (state) => this.#restore(state),
  );

  readonly #index: number;
  readonly #bus: ApicBus;
  readonly #external: ExternalInterrupts | undefined;
  readonly #timer: ApicTimer;

  readonly #inService = new VectorSet();
  readonly #triggerMode = new VectorSet();
  readonly #requests = new VectorSet();
  #apicBase = 0n;
  #apicId = 0;
  #taskPriority = 0;
  #logicalDestination = 0;
  #destinationFormat = 0;
  #spurious = 0;
  #errorStatus = 0;
  #errors = 0;
  #command = 0n;
  #localVectors: number[] = [];
  #externalPending = false;
  #nmiPending = false;
  #initPending = false;
  #startupPending = false;
  #startupVector = 0;
  /** Answer of {@link pending}, which is asked far more often than it changes. */
  #pending = false;

  constructor(context: DeviceContext) {
    const properties = new Properties(context);
    this.id = context.id;
    this.#index = properties.integer("index", 254);
    this.#bus = properties.part<ApicBus>("apicBus", "send", "endOfInterrupt");
    if (context.properties.external !== undefined) {
      this.#external = properties.part<ExternalInterrupts>("external", "requested", "acknowledge");
      this.#external.onChange = () => this.#update();
    }
    this.#timer = new ApicTimer(`${context.id}/timer`, context.timers, context.clock, () =>
      this.#raiseLocal(vectorTable.timer),
    );
    this.reset();
  }

  reset(): void {
    this.#apicBase = apicBase.address | apicBase.enabled | (this.#index === 0 ? apicBase.bootProcessor : 0n);
    this.#initialise();
    this.#nmiPending = false;
    this.#initPending = false;
    this.#startupPending = false;
    this.#startupVector = 0;
    this.#update();
  }

  // --- What the vCPU sees ---

  pending(): boolean {
    return this.#pending;
  }

  acknowledge(): number {
    const request = this.#requests.highest();
    if (this.#externalWaits()) {
      this.#externalPending = false;
      const vector = this.#external?.acknowledge() ?? this.#spurious & spurious.vector;
      this.#update();
      return vector;
    }
    if (request < 0 || (request & 0xf0) <= (this.processorPriority & 0xf0)) {
      // The task priority was raised, or the request masked, between the question and this: nothing is in service.
      return this.#spurious & spurious.vector;
    }
    this.#requests.delete(request);
    this.#inService.add(request);
    this.#update();
    return request;
  }

  get taskPriority(): number {
    return this.#taskPriority >> 4;
  }

  set taskPriority(value: number) {
    this.#taskPriority = (value & 0xf) << 4;
    this.#update();
  }

  get timestampCounter(): TimestampCounterRate {
    return this.#timer.timestampCounter;
  }

  set timestampCounter(rate: TimestampCounterRate) {
    this.#timer.timestampCounter = rate;
  }

  takeEvent(): ProcessorEvent | undefined {
    let event: ProcessorEvent | undefined;
    if (this.#initPending) {
      this.#initPending = false;
      event = { kind: "init" };
    } else if (this.#startupPending) {
      this.#startupPending = false;
      event = { kind: "startup", vector: this.#startupVector };
    } else if (this.#nmiPending) {
      this.#nmiPending = false;
      event = { kind: "nmi" };
    }
    return event;
  }

  readMsr(index: number): bigint | undefined {
    if (index === msr.apicBase) {
      return this.#apicBase;
    }
    if (index === msr.tscDeadline) {
      return this.#timer.tscDeadline;
    }
    if (!this.#x2apic() || index < msr.x2apicFirst || index > msr.x2apicLast) {
      return undefined;
    }
    const offset = (index - msr.x2apicFirst) * 16;
    if (offset === register.commandLow) {
      return this.#command;
    }
    const value = isX2apicReadable(offset) ? this.#read(offset) : undefined;
    return value === undefined ? undefined : BigInt(value);
  }

  writeMsr(index: number, value: bigint): boolean | "fault" {
    if (index === msr.apicBase) {
      return this.#writeBase(value);
    }
    if (index === msr.tscDeadline) {
      this.#timer.tscDeadline = value;
      return true;
    }
    if (index < msr.x2apicFirst || index > msr.x2apicLast) {
      return false;
    }
    if (!this.#x2apic()) {
      return "fault";
    }
    const offset = (index - msr.x2apicFirst) * 16;
    if (offset === register.commandLow) {
      this.#sendCommand(value);
      return true;
    }
    if (x2apicWriteFaults(offset, value)) {
      return "fault";
    }
    const low = Number(value);
    if (offset === register.selfInterrupt) {
      this.receive({ destination: this.#apicId, logical: false, deliveryMode: "fixed", vector: low, trigger: "edge" });
      return true;
    }
    return this.#write(offset, low) ? true : "fault";
  }

  // --- What the board and the APIC bus see ---

  get processorPriority(): number {
    const serviced = this.#inService.highest();
    const servicedClass = serviced < 0 ? 0 : serviced & 0xf0;
    return (this.#taskPriority & 0xf0) >= servicedClass ? this.#taskPriority : servicedClass;
  }

  readRegister(offset: number): number {
    if (!this.#enabled() || this.#x2apic()) {
      return allOnes;
    }
    if (offset === register.arbitrationPriority) {
      return this.processorPriority;
    }
    const value = (offset & 0xf) === 0 ? this.#read(offset) : 0;
    if (value === undefined) {
      this.#fail(errorStatus.illegalRegister);
      return 0;
    }
    return value;
  }

  writeRegister(offset: number, value: number): void {
    if (!this.#enabled() || this.#x2apic() || (offset & 0xf) !== 0) {
      return;
    }
    switch (offset) {
      case register.id:
        this.#apicId = value >>> 24;
        return;
      case register.logicalDestination:
        this.#logicalDestination = (value & 0xff00_0000) >>> 0;
        return;
      case register.destinationFormat:
        this.#destinationFormat = (value | 0x0fff_ffff) >>> 0;
        return;
      case register.commandLow:
        this.#sendCommand((this.#command & 0xffff_ffff_0000_0000n) | BigInt(value));
        return;
      case register.commandHigh:
        this.#command = (this.#command & 0xffff_ffffn) | (BigInt((value & 0xff00_0000) >>> 0) << 32n);
        return;
      default:
        if (!this.#write(offset, value)) {
          this.#fail(errorStatus.illegalRegister);
        }
    }
  }

  matches(message: ApicMessage): boolean {
    return (
      this.#enabled() &&
      isDestination(message, {
        x2apic: this.#x2apic(),
        id: this.#apicId,
        logicalDestination: this.#logicalDestination,
        destinationFormat: this.#destinationFormat,
      })
    );
  }

  receive(message: ApicMessage): void {
    switch (message.deliveryMode) {
      case "fixed":
      case "lowest-priority":
        this.#accept(message.vector, message.trigger === "level");
        return;
      case "nmi":
        this.#nmiPending = true;
        break;
      case "init":
        // The rest of the APIC is reset with the vCPU (Intel SDM Vol. 3A §11.4.7.3).
        this.#initialise();
        this.#initPending = true;
        this.#startupPending = false;
        break;
      case "startup":
        this.#startupPending = true;
        this.#startupVector = message.vector;
        break;
      case "external":
        this.#externalPending = true;
        break;
      case "smi":
        // There is no system management mode.
        return;
    }
    this.#update();
    // NMI, INIT and start-up do not show in pending(), so the vCPU is told in any case.
    this.onChange();
  }

  // --- Inside ---

  #enabled(): boolean {
    return (this.#apicBase & apicBase.enabled) !== 0n;
  }

  #x2apic(): boolean {
    return (this.#apicBase & apicBase.x2apic) !== 0n;
  }

  #softwareEnabled(): boolean {
    return (this.#spurious & spurious.enabled) !== 0;
  }

  /** State after reset and INIT, without the base address and what waits for the vCPU. */
  #initialise(): void {
    this.#apicId = this.#index;
    this.#taskPriority = 0;
    this.#logicalDestination = 0;
    this.#destinationFormat = allOnes;
    this.#spurious = 0xff;
    this.#errorStatus = 0;
    this.#errors = 0;
    this.#command = 0n;
    this.#localVectors = localVectors.map(() => masked);
    if (this.#external !== undefined) {
      // What firmware leaves behind: virtual wire mode, in which the 8259A pair interrupts through LINT0.
      this.#localVectors[vectorTable.lint0] = deliveryModes.indexOf("external") << localVector.deliveryShift;
    }
    this.#inService.clear();
    this.#triggerMode.clear();
    this.#requests.clear();
    this.#externalPending = false;
    this.#timer.reset();
  }

  #writeBase(value: bigint): boolean | "fault" {
    const modes = apicBase.enabled | apicBase.x2apic;
    const writable = modes | apicBase.bootProcessor;
    // NOTE: the page cannot be moved; no operating system does.
    if ((value & ~writable) !== apicBase.address) {
      return "fault";
    }
    const from = this.#apicBase & modes;
    const to = value & modes;
    // Intel SDM Vol. 3A figure 11-27: x2APIC mode is entered from xAPIC mode and left only by disabling the APIC.
    if (to === apicBase.x2apic || (from === modes && to === apicBase.enabled) || (from === 0n && to === modes)) {
      return "fault";
    }
    this.#apicBase = value;
    if (from !== to) {
      if (to === 0n) {
        const vectors = [...this.#localVectors];
        this.#initialise();
        // Disabling does not unmask LINT0 again; while it lasts the 8259A pair reaches the vCPU directly.
        this.#localVectors[vectorTable.lint0] = vectors[vectorTable.lint0] ?? masked;
      } else if (to === modes) {
        this.#apicId = this.#index;
        this.#destinationFormat = allOnes;
        this.#command &= 0xffff_ffffn;
      }
      this.#update();
    }
    return true;
  }

  /** Registers that xAPIC and x2APIC mode have in common; undefined if there is none. */
  #read(offset: number): number | undefined {
    if (offset >= register.inService && offset < register.errorStatus) {
      const index = (offset >> 4) & 7;
      if (offset < register.triggerMode) return this.#inService.word(index);
      return offset < register.interruptRequest ? this.#triggerMode.word(index) : this.#requests.word(index);
    }
    if (offset >= register.timer && offset <= register.error) {
      return this.#localVectors[(offset - register.timer) >> 4];
    }
    switch (offset) {
      case register.id:
        return this.#x2apic() ? this.#apicId : (this.#apicId << 24) >>> 0;
      case register.version:
        return version;
      case register.taskPriority:
        return this.#taskPriority;
      case register.processorPriority:
        return this.processorPriority;
      case register.endOfInterrupt:
      case register.remoteRead:
        return 0;
      case register.logicalDestination:
        return this.#x2apic() ? x2apicLogicalId(this.#apicId) : this.#logicalDestination;
      case register.destinationFormat:
        return this.#destinationFormat;
      case register.spurious:
        return this.#spurious;
      case register.errorStatus:
        return this.#errorStatus;
      case register.commandLow:
        return Number(this.#command & 0xffff_ffffn);
      case register.commandHigh:
        return Number(this.#command >> 32n);
      case register.initialCount:
        return this.#timer.initialCount;
      case register.currentCount:
        return this.#timer.currentCount;
      case register.divideConfiguration:
        return this.#timer.divideConfiguration;
      default:
        return undefined;
    }
  }

  /** Returns `false` if there is no such register or it cannot be written. */
  #write(offset: number, value: number): boolean {
    if (offset >= register.timer && offset <= register.error) {
      this.#writeLocalVector((offset - register.timer) >> 4, value);
      return true;
    }
    switch (offset) {
      case register.taskPriority:
        this.#taskPriority = value & 0xff;
        this.#update();
        return true;
      case register.endOfInterrupt:
        this.#endOfInterrupt();
        return true;
      case register.spurious:
        this.#spurious = value & spurious.writable;
        if (!this.#softwareEnabled()) {
          this.#localVectors = this.#localVectors.map((entry) => entry | masked);
        }
        this.#update();
        return true;
      case register.errorStatus:
        // A write makes the errors so far readable and begins anew.
        this.#errorStatus = this.#errors;
        this.#errors = 0;
        return true;
      case register.initialCount:
        this.#timer.initialCount = value;
        return true;
      case register.divideConfiguration:
        this.#timer.divideConfiguration = value;
        return true;
      default:
        return false;
    }
  }

  #writeLocalVector(index: number, value: number): void {
    const { writable } = localVectors[index] ?? { writable: 0 };
    this.#localVectors[index] = (value & writable) | (this.#softwareEnabled() ? 0 : masked);
    if (index === vectorTable.timer) {
      this.#timer.mode = localApicTimerMode(value);
    }
    this.#update();
  }

  #endOfInterrupt(): void {
    const vector = this.#inService.highest();
    if (vector < 0) {
      return;
    }
    this.#inService.delete(vector);
    if (this.#triggerMode.has(vector)) {
      this.#bus.endOfInterrupt(vector);
    }
    this.#update();
  }

  #sendCommand(value: bigint): void {
    this.#command = writableCommand(value);
    const sent = decodeCommand(value, this.#x2apic());
    if (sent === undefined) {
      return;
    }
    const { message, shorthand } = sent;
    if (message.vector < 16 && (message.deliveryMode === "fixed" || message.deliveryMode === "lowest-priority")) {
      this.#fail(errorStatus.sendIllegalVector);
    } else if (shorthand === "self") {
      this.receive(message);
    } else {
      this.#bus.send(message, shorthand === "others" ? this : undefined);
    }
  }

  /** Puts a vector into the interrupt request register. */
  #accept(vector: number, level: boolean): void {
    if (!this.#softwareEnabled()) {
      return;
    }
    if (vector < 16) {
      this.#fail(errorStatus.receiveIllegalVector);
      return;
    }
    this.#requests.add(vector);
    if (level) {
      this.#triggerMode.add(vector);
    } else {
      this.#triggerMode.delete(vector);
    }
    this.#update();
  }

  #raiseLocal(index: number): void {
    const entry = this.#localVectors[index] ?? masked;
    if ((entry & masked) !== 0) {
      return;
    }
    const programmable = index !== vectorTable.timer && index !== vectorTable.error;
    const deliveryMode = programmable ? deliveryModes[(entry >> localVector.deliveryShift) & 7] : "fixed";
    if (deliveryMode !== undefined) {
      this.receive({
        destination: this.#apicId,
        logical: false,
        deliveryMode,
        vector: entry & localVector.vector,
        trigger: "edge",
      });
    }
  }

  #fail(error: number): void {
    const first = (this.#errors & error) === 0;
    this.#errors |= error;
    if (first) {
      this.#raiseLocal(vectorTable.error);
    }
  }

  /** Whether an acknowledge cycle would go to the 8259A pair. */
  #externalWaits(): boolean {
    if (this.#external === undefined) {
      return false;
    }
    if (!this.#external.requested()) {
      return this.#externalPending;
    }
    if (this.#externalPending || !this.#enabled()) {
      return true;
    }
    const entry = this.#localVectors[vectorTable.lint0] ?? masked;
    return (entry & masked) === 0 && deliveryModes[(entry >> localVector.deliveryShift) & 7] === "external";
  }

  /** Recomputes whether an interrupt waits, and tells the vCPU if one has come. */
  #update(): void {
    const request = this.#requests.highest();
    const before = this.#pending;
    this.#pending =
      this.#externalWaits() ||
      (this.#softwareEnabled() && request >= 0 && (request & 0xf0) > (this.processorPriority & 0xf0));
    if (this.#pending && !before) {
      this.onChange();
    }
  }

  #save(): LocalApicState {
    return {
      apicBase: this.#apicBase,
      id: this.#apicId,
      taskPriority: this.#taskPriority,
      logicalDestination: this.#logicalDestination,
      destinationFormat: this.#destinationFormat,
      spurious: this.#spurious,
      inService: this.#inService.save(),
      triggerMode: this.#triggerMode.save(),
      interruptRequest: this.#requests.save(),
      errorStatus: this.#errorStatus,
      errors: this.#errors,
      command: this.#command,
      localVectors: [...this.#localVectors],
      ...this.#timer.save(),
      externalPending: this.#externalPending,
      nmiPending: this.#nmiPending,
      initPending: this.#initPending,
      startupPending: this.#startupPending,
      startupVector: this.#startupVector,
    };
  }

  #restore(state: LocalApicState): void {
    const reason = localApicProblem(state, this.#index);
    if (reason !== undefined) {
      throw deviceErrors.ERR_CPR_DEVICE_STATE({ device: this.id, reason });
    }
    this.#apicBase = state.apicBase;
    this.#apicId = state.id;
    this.#taskPriority = state.taskPriority;
    this.#logicalDestination = state.logicalDestination;
    this.#destinationFormat = state.destinationFormat;
    this.#spurious = state.spurious;
    this.#inService.restore(state.inService);
    this.#triggerMode.restore(state.triggerMode);
    this.#requests.restore(state.interruptRequest);
    this.#errorStatus = state.errorStatus;
    this.#errors = state.errors;
    this.#command = state.command;
    this.#localVectors = [...state.localVectors];
    this.#timer.restore(state, localApicTimerMode(state.localVectors[vectorTable.timer] ?? masked));
    this.#externalPending = state.externalPending;
    this.#nmiPending = state.nmiPending;
    this.#initPending = state.initPending;
    this.#startupPending = state.startupPending;
    this.#startupVector = state.startupVector;
    this.#update();
  }
}

/**
 * Makes local APICs. Properties: `index`, the vCPU's index and APIC id; `apicBus`; `external`, for the boot processor:
 * what is wired to LINT0.
 */
export class LocalApicModel implements DeviceModel {
  readonly name = "local-apic";

  create(context: DeviceContext): Device & LocalApic {
    return new ProcessorApic(context);
  }
}
