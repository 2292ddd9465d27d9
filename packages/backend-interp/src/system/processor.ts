import { type Bus, defaultTscFrequency, type ProcessorInterrupts, type RamRegion, type VirtualClock } from "@cpr/core";
import { BlockCache } from "../code-cache.ts";
import type { CodePages } from "../code-pages.ts";
import { modeFor } from "../decode/mode.ts";
import type { CoreExports, CoreFunctions } from "../imports.ts";
import {
  blockRipSlot,
  budgetAt,
  budgetWithheldAt,
  currentOperationAt,
  interruptShadowAt,
  modeAt,
  privilegeAt,
  slowAddressSlot,
  tlbAt,
  tlbBaseAt,
  tlbHalfSize,
} from "../layout.ts";
import { field } from "../operations.ts";
import type { CodeCache, CoreMemory, Helper, Mode, RamViews } from "../processor-interface.ts";
import { attribute, flag, segment, vector } from "./architecture.ts";
import { Breakpoints } from "./breakpoints.ts";
import { createCoreMemory, createRamViews } from "./core-memory.ts";
import { defaultFeatures, type ProcessorFeatures } from "./cpu-model.ts";
import { deliverEvent } from "./event-delivery.ts";
import { readFlags, storeFlags } from "./flags.ts";
import { PendingFault } from "./guest-fault.ts";
import { helperTable } from "./helper-table.ts";
import { JumpCache } from "./jump-cache.ts";
import { PagedMemory } from "./linear-memory.ts";
import { ModelSpecificRegisters } from "./msr.ts";
import { PageWalker } from "./paging.ts";
import { ParavirtualClock } from "./paravirtual-clock.ts";
import { PhysicalMemory } from "./physical-memory.ts";
import { Registers } from "./registers.ts";
import { resetRegisters, startAt } from "./reset.ts";
import { withinLimit } from "./stack.ts";
import { accessesStack } from "./stack-access.ts";
import type { EventKind, SystemProcessor } from "./system-processor.ts";
import { TimeStampCounter } from "./time-stamp-counter.ts";
import { TranslationBuffer } from "./translation-buffer.ts";

/** What a processor is made from. */
export interface ProcessorOptions {
  readonly index: number;
  /** vCPUs of the machine. */
  readonly processorCount: number;
  readonly ram: WebAssembly.Memory;
  /** Bytes of {@link ram} that are the guest's. */
  readonly ramSize: number;
  /** Where they begin; 0 by default. */
  readonly ramStart?: number;
  readonly regions: readonly RamRegion[];
  readonly bus: Bus;
  readonly clock: VirtualClock;
  /** Shared by all processors of the machine. */
  readonly codePages: CodePages;
  readonly features?: ProcessorFeatures;
  /** In Hz. */
  readonly tscFrequency?: number;
  /** Makes the WebAssembly core over the two memories. */
  readonly instantiate: (core: WebAssembly.Memory, ram: WebAssembly.Memory, functions: CoreFunctions) => CoreExports;
}

/** Whether a processor executes: KVM's mp_state values, and one for what follows a triple fault. */
export const activity = { running: 0, uninitialized: 1, waitingForStartup: 2, halted: 3, shutdown: 4 } as const;
export type Activity = (typeof activity)[keyof typeof activity];

/** Why {@link Processor.run} returned. */
export type RunOutcome = "budget" | "idle" | "shutdown";

/** An event that a state holds; `kind` as in core's `pendingEvent`. */
export interface PendingEvent {
  readonly vector: number;
  readonly kind: number;
  readonly errorCode: number | undefined;
}

/** Exceptions that make a double fault of each other (Intel SDM Vol. 3A table 6-5). */
const contributory: ReadonlySet<number> = new Set([0, 10, 11, 12, 13]);

/** One vCPU: its registers, its memory, its decoded code, and the loop that executes it. */
export class Processor implements SystemProcessor {
  readonly index: number;
  readonly features: ProcessorFeatures;
  readonly core: CoreMemory;
  readonly ram: RamViews;
  readonly bus: Bus;
  readonly clock: VirtualClock;
  readonly registers: Registers;
  readonly physical: PhysicalMemory;
  readonly walker: PageWalker;
  readonly translations: TranslationBuffer;
  readonly linear: PagedMemory;
  readonly code: CodeCache;
  readonly codePages: CodePages;
  readonly modelRegisters: ModelSpecificRegisters;
  readonly timeStamp: TimeStampCounter;
  readonly paravirtualClock: ParavirtualClock;
  mode: Mode;
  activity: Activity;
  nmiMasked = false;
  nmiPending = false;
  /** An event of a restored state, whose delivery had begun elsewhere: delivered before anything else. */
  pendingEvent: PendingEvent | undefined;
  /** Instructions executed so far. */
  executed = 0;
  /** Told of each PAUSE. Set by what gives several processors their turns. */
  onPause: () => void = () => undefined;

  readonly #fault = new PendingFault();
  readonly #breakpoints: Breakpoints;
  readonly #exports: CoreExports;
  #interrupts: ProcessorInterrupts | undefined;
  /** An instruction is being fetched: a fault is that of the instruction at `ripSlot`. */
  #fetching = false;
  /** Budget that is left when the instruction behind a STI or MOV SS has not executed yet. */
  #shadowMark = 0;
  /** An event was delivered by the instruction itself, so that no single-step trap follows it. */
  #delivered = false;
  #stopRequested = false;
  readonly #jumpCache: JumpCache;

  constructor(options: ProcessorOptions) {
    this.index = options.index;
    this.activity = this.#initialActivity;
    this.features = options.features ?? defaultFeatures({ index: options.index, count: options.processorCount });
    this.bus = options.bus;
    this.clock = options.clock;
    this.codePages = options.codePages;
    this.core = createCoreMemory();
    this.ram = createRamViews(options.ram, options.ramSize, options.ramStart ?? 0);
    this.registers = new Registers(this.core);
    this.physical = new PhysicalMemory(this.ram, options.regions, options.bus.mmio);
    this.translations = new TranslationBuffer(this.core, this.ram.start);
    this.walker = new PageWalker(this.core, this.physical, options.codePages);
    this.timeStamp = new TimeStampCounter(options.clock, (rate) => {
      if (this.#interrupts !== undefined) this.#interrupts.timestampCounter = rate;
      this.paravirtualClock.update();
    });
    this.timeStamp.frequency = options.tscFrequency ?? defaultTscFrequency;
    this.paravirtualClock = new ParavirtualClock(this);
    this.mode = modeFor(this.core);
    this.#jumpCache = new JumpCache(this.core);
    this.#breakpoints = new Breakpoints(this.registers);
    this.modelRegisters = new ModelSpecificRegisters(this);
    this.linear = new PagedMemory(this);
    this.code = new BlockCache(this, options.codePages);
    const { linear } = this;
    const helpers = helperTable(this);
    this.#exports = options.instantiate(this.core.memory, options.ram, {
      resolve: (linkAt) => {
        this.#fetching = true;
        const block = this.code.resolve(linkAt);
        this.#fetching = false;
        return block;
      },
      helper: (number, operation) => (helpers[number] as Helper)(operation),
      slowLoad: (size) => linear.slowLoad(size),
      slowStore: (size) => linear.slowStore(size),
      slowModify: (size) => linear.slowModify(size),
      slowStoreBack: (size) => linear.slowStoreBack(size),
      raise: (number, errorCode) => this.raise(number, errorCode < 0 ? undefined : errorCode),
      checkSegment: (index, size, write) =>
        this.#checkSegment(index, this.core.u32[slowAddressSlot >> 2] as number, size, write !== 0),
    });
    resetRegisters(this, false);
  }

  // Execution.

  get interrupts(): ProcessorInterrupts | undefined {
    return this.#interrupts;
  }
  /** `onChange` is called whenever an interrupt may have become pending, also while the processor executes. */
  attachInterrupts(interrupts: ProcessorInterrupts, onChange: () => void): void {
    this.#interrupts = interrupts;
    interrupts.timestampCounter = this.timeStamp.rate;
    interrupts.onChange = () => {
      this.forceReturn();
      onChange();
    };
  }

  /** Makes {@link run} return at the next block. */
  requestStop(): void {
    this.#stopRequested = true;
    this.forceReturn();
  }

  forceReturn(): void {
    const { i32 } = this.core;
    const left = i32[budgetAt >> 2] as number;
    if (left >= 0) {
      i32[budgetWithheldAt >> 2] = (i32[budgetWithheldAt >> 2] as number) + left + 1;
      i32[budgetAt >> 2] = -1;
    }
  }

  /**
   * Executes about `instructions` instructions, and delivers events between them. Stops early when the processor has
   * nothing to do (`idle`, `shutdown`), and with `budget` when {@link requestStop} was called.
   */
  run(instructions: number): RunOutcome {
    const start = this.executed;
    this.#stopRequested = false;
    for (;;) {
      this.#takeEvents();
      if (this.activity !== activity.running) {
        return this.activity === activity.shutdown ? "shutdown" : "idle";
      }
      const left = instructions - (this.executed - start);
      if (left <= 0 || this.#stopRequested) return "budget";
      const shadow = this.core.u32[interruptShadowAt >> 2] !== 0;
      if (this.singleStepping || shadow) {
        this.#executeOne();
      } else if (this.#execute(0, left) === 0) {
        return "budget";
      }
    }
  }

  /** Executes one instruction, or delivers one event. Returns false if the processor has nothing to do. */
  step(): boolean {
    this.#takeEvents();
    if (this.activity !== activity.running) return false;
    this.#executeOne();
    return true;
  }

  /** Whether {@link run} would do anything, if only tell of a triple fault. Takes INIT and start-up IPIs. */
  hasWork(): boolean {
    this.#collectEvents();
    if (this.activity === activity.running || this.activity === activity.shutdown) return true;
    if (this.activity !== activity.halted) return false;
    return (this.nmiPending && !this.nmiMasked) || this.#interruptDeliverable();
  }

  /** Lets WebAssembly execute. Returns how many instructions it completed, at least 1 if an event was delivered. */
  #execute(block: number, budget: number): number {
    const { i32, u32 } = this.core;
    i32[budgetAt >> 2] = budget;
    i32[budgetWithheldAt >> 2] = 0;
    this.#shadowMark = budget;
    let faulted = false;
    try {
      this.#exports.run(block);
    } catch (thrown) {
      if (thrown !== this.#fault) throw thrown;
      faulted = true;
      this.#locateFault();
    }
    const left = (i32[budgetAt >> 2] as number) + (i32[budgetWithheldAt >> 2] as number);
    const forced = (i32[budgetWithheldAt >> 2] as number) !== 0;
    // NOTE: nothing outside `run` may find a budget that it could withhold from.
    i32[budgetAt >> 2] = -1;
    const executed = budget - left;
    this.executed += executed;
    if (left !== this.#shadowMark) u32[interruptShadowAt >> 2] = 0;
    if (faulted) this.#deliverException(this.#fault.vector, this.#fault.errorCode);
    return faulted || forced ? Math.max(executed, 1) : executed;
  }

  /** After a fault: RIP is that of the instruction, and what was not executed of its block goes back to the budget. */
  #locateFault(): void {
    const { u32, i32 } = this.core;
    if (this.#fetching) {
      this.#fetching = false;
      return;
    }
    const operation = u32[currentOperationAt >> 2] as number;
    i32[budgetAt >> 2] = (i32[budgetAt >> 2] as number) + this.#exports.unfinishedInstructions(operation);
    this.registers.rip = this.instructionPointer(operation);
  }

  /** One instruction, with the traps that may come before and after it. */
  #executeOne(): void {
    const { registers } = this;
    const trap = (registers.systemFlags & flag.trap) !== 0;
    const breakpoints = this.#breakpoints;
    if (breakpoints.enabled && (registers.systemFlags & flag.resume) === 0) {
      const met = breakpoints.atInstruction(this.#linearInstructionPointer());
      if (met !== 0) {
        this.#debugException(met);
        return;
      }
    }
    breakpoints.met = 0;
    this.#delivered = false;
    let block: number;
    this.#fetching = true;
    try {
      block = this.code.resolveSingle();
    } catch (thrown) {
      this.#fetching = false;
      if (thrown !== this.#fault) throw thrown;
      this.#deliverException(this.#fault.vector, this.#fault.errorCode);
      return;
    }
    this.#fetching = false;
    const before = this.executed;
    // NOTE: IRET may set RF for the instruction that it returns to.
    const resumed = (registers.systemFlags & flag.resume) !== 0;
    this.#execute(block, 1);
    if (this.executed === before) return;
    if (resumed) registers.systemFlags &= ~flag.resume;
    // NOTE: the trap of an instruction that loads SS is lost, like everything in its shadow.
    const blocked = ((this.core.u32[interruptShadowAt >> 2] as number) & 2) !== 0;
    const stepped = trap && !this.#delivered && !blocked;
    if (stepped || breakpoints.met !== 0) {
      this.#debugException(breakpoints.met | (stepped ? 0x4000 : 0));
    }
  }

  #linearInstructionPointer(): bigint {
    const { registers } = this;
    return this.mode.long ? registers.rip : BigInt.asUintN(32, registers.segmentBase(segment.cs) + registers.rip);
  }

  #debugException(status: number): void {
    const { registers } = this;
    registers.setDebug(6, (registers.debug(6) & ~0xfn) | BigInt(status));
    this.#deliverException(vector.debug, undefined);
  }

  get singleStepping(): boolean {
    return this.#breakpoints.enabled || (this.registers.systemFlags & flag.trap) !== 0;
  }

  // Events.

  #interruptDeliverable(): boolean {
    return (
      (this.registers.systemFlags & flag.interrupt) !== 0 &&
      this.core.u32[interruptShadowAt >> 2] === 0 &&
      this.#interrupts?.pending() === true
    );
  }

  /** Takes NMI, INIT and start-up IPIs from the local APIC. */
  #collectEvents(): void {
    for (;;) {
      const event = this.#interrupts?.takeEvent();
      if (event === undefined) return;
      if (event.kind === "nmi") {
        this.nmiPending = true;
      } else if (event.kind === "init") {
        resetRegisters(this, true);
        this.nmiMasked = false;
        this.nmiPending = false;
        // The bootstrap processor begins again at the reset vector, the others wait (Intel SDM Vol. 3A §9.4.1).
        this.activity = this.index === 0 ? activity.running : activity.waitingForStartup;
      } else if (this.activity === activity.waitingForStartup) {
        startAt(this, event.vector);
        this.activity = activity.running;
      }
    }
  }

  /** Delivers what waits and may be delivered; wakes the processor from HLT. */
  #takeEvents(): void {
    if (this.pendingEvent !== undefined) this.#deliverPending(this.pendingEvent);
    this.#collectEvents();
    if (this.activity !== activity.running && this.activity !== activity.halted) return;
    const shadow = this.core.u32[interruptShadowAt >> 2] as number;
    if (this.nmiPending && !this.nmiMasked && shadow === 0) {
      this.nmiPending = false;
      this.nmiMasked = true;
      this.activity = activity.running;
      this.#deliverExternal(vector.nonMaskable, "nmi");
    }
    // NOTE: a second interrupt may be acknowledged right behind the first only if its handler has interrupts enabled.
    while (!this.isShutDown && this.#interruptDeliverable()) {
      this.activity = activity.running;
      this.#deliverExternal((this.#interrupts as ProcessorInterrupts).acknowledge(), "interrupt");
    }
  }

  #deliverPending({ vector: number, kind, errorCode }: PendingEvent): void {
    this.pendingEvent = undefined;
    if (kind === 3) this.#deliverException(number, errorCode);
    else if (kind === 2) this.nmiPending = true;
    else if (kind === 0) this.#deliverExternal(number, "interrupt");
    // A software interrupt is left to its instruction, at which RIP still is.
  }

  /** After a triple fault. */
  get isShutDown(): boolean {
    return this.activity === activity.shutdown;
  }

  #deliverExternal(number: number, kind: "interrupt" | "nmi"): void {
    try {
      this.deliver(number, kind, undefined, this.registers.rip);
    } catch (thrown) {
      if (thrown !== this.#fault) throw thrown;
      this.#deliverException(this.#fault.vector, this.#fault.errorCode);
    }
  }

  /** Delivers an exception at `ripSlot`; what goes wrong becomes the next exception, a double fault, or the end. */
  #deliverException(number: number, errorCode: number | undefined): void {
    const fault = this.#fault;
    let current = number;
    let code = errorCode;
    for (;;) {
      try {
        this.deliver(current, "exception", code, this.registers.rip);
        return;
      } catch (thrown) {
        if (thrown !== fault) throw thrown;
        const second = fault.vector;
        const severe = contributory.has(second) || second === vector.pageFault;
        if (current === vector.doubleFault && severe) {
          this.activity = activity.shutdown;
          return;
        }
        const doubled =
          (contributory.has(current) && contributory.has(second)) || (current === vector.pageFault && severe);
        current = doubled ? vector.doubleFault : second;
        code = doubled ? 0 : fault.errorCode;
      }
    }
  }

  deliver(number: number, kind: EventKind, errorCode: number | undefined, returnAddress: bigint): void {
    deliverEvent(this, number, kind, errorCode, returnAddress);
    this.core.u32[interruptShadowAt >> 2] = 0;
    this.#delivered = true;
  }

  halt(): void {
    this.activity = activity.halted;
  }

  pause(): void {
    this.onPause();
  }

  unmaskNmi(): void {
    this.nmiMasked = false;
    if (this.nmiPending) this.forceReturn();
  }

  setInterruptShadow(kind: 1 | 2): void {
    const { u32, i32 } = this.core;
    u32[interruptShadowAt >> 2] = kind;
    this.#shadowMark = (i32[budgetAt >> 2] as number) + (i32[budgetWithheldAt >> 2] as number);
    if (kind === 1) this.#interruptsEnabled();
  }

  #interruptsEnabled(): void {
    if (this.#interrupts?.pending() === true) this.forceReturn();
  }

  // Faults.

  raise(number: number, errorCode?: number): never {
    this.#fault.vector = number;
    this.#fault.errorCode = errorCode;
    throw this.#fault;
  }

  raisePageFault(high: number, low: number, errorCode: number): never {
    this.registers.cr2 = (BigInt(high) << 32n) | BigInt(low);
    return this.raise(vector.pageFault, errorCode);
  }

  raiseNotCanonical(): never {
    return this.raise(!this.#fetching && accessesStack(this.core) ? vector.stackFault : vector.generalProtection, 0);
  }

  checkSegment(index: number, offset: bigint, size: number, write: boolean): void {
    this.#checkSegment(index, Number(offset & 0xffff_ffffn), size, write);
  }

  #checkSegment(index: number, offset: number, size: number, write: boolean): void {
    const { registers } = this;
    const attributes = registers.segmentAttributes(index);
    const isCode = (attributes & attribute.code) !== 0;
    const readWrite = (attributes & attribute.readWrite) !== 0;
    let allowed = withinLimit(registers.segmentLimit(index), attributes, offset, size);
    if (registers.protectedMode) {
      allowed &&= !registers.segmentUnusable(index) && (write ? !isCode && readWrite : !isCode || readWrite);
    }
    if (!allowed) {
      this.raise(index === segment.ss ? vector.stackFault : vector.generalProtection, 0);
    }
  }

  // Registers with effects.

  readFlags(): number {
    return readFlags(this.core.u32);
  }

  writeFlags(flags: number): void {
    const { u32 } = this.core;
    const before = this.registers.systemFlags;
    // RF matters only to breakpoints; kept when there are none, it would show in stored flags.
    storeFlags(u32, this.#breakpoints.enabled ? flags : flags & ~flag.resume);
    const set = flags & ~before;
    if ((set & flag.interrupt) !== 0) this.#interruptsEnabled();
    if ((flags & flag.trap) !== 0) this.forceReturn();
  }

  blockInstructionPointer(): bigint {
    return this.core.u64[blockRipSlot >> 3] as bigint;
  }
  instructionPointer(operation: number): bigint {
    return this.#pointerAt(this.core.u16[(operation + field.instructionOffset) >> 1] as number);
  }
  nextInstructionPointer(operation: number): bigint {
    const offset = this.core.u16[(operation + field.instructionOffset) >> 1] as number;
    return this.#pointerAt(offset + (this.core.i32[(operation + field.displacement) >> 2] as number));
  }
  #pointerAt(offset: number): bigint {
    const pointer = (this.core.u64[blockRipSlot >> 3] as bigint) + BigInt(offset);
    return BigInt.asUintN(this.mode.long ? 64 : 32, pointer);
  }

  setPrivilege(level: number): void {
    this.core.u32[privilegeAt >> 2] = level;
  }

  modeChanged(): void {
    const { core } = this;
    this.mode = modeFor(core);
    core.u32[modeAt >> 2] = this.mode.number;
    core.u32[tlbBaseAt >> 2] = this.mode.user ? tlbAt + tlbHalfSize : tlbAt;
    this.#jumpCache.update(this.mode);
  }

  // Translations.

  flushTranslations(keepGlobal: boolean): void {
    this.translations.flush(keepGlobal);
    this.#jumpCache.flush(keepGlobal);
    this.#jumpCache.update(this.mode);
  }

  invalidatePage(address: bigint): void {
    const low = Number(address & 0xffff_ffffn);
    const high = Number((address >> 32n) & 0xffff_ffffn);
    // Of a page larger than 4 KiB other parts go as well.
    if (this.translations.invalidate(high, low)) this.#jumpCache.flush(false);
    else this.#jumpCache.invalidate(high, low);
    this.#jumpCache.update(this.mode);
  }

  fetchedFrom(high: number, low: number, global: boolean): void {
    this.#jumpCache.fetchedFrom(high, low, global, this.mode.user);
  }

  // Breakpoints.

  breakpointsChanged(): void {
    this.#breakpoints.update();
    // Pages with data breakpoints must not be in the TLB; those of former ones may be again.
    this.translations.flush(false);
    this.forceReturn();
  }
  watchesPage(high: number, low: number): boolean {
    return this.#breakpoints.watchesPage(high, low);
  }
  watchAccess(high: number, low: number, size: number, write: boolean): void {
    if (this.#breakpoints.enabled) this.#breakpoints.access(high, low, size, write);
  }
  watchPort(port: number, size: number): void {
    if (this.#breakpoints.enabled) this.#breakpoints.port(port, size);
  }

  readInterruptsMsr(index: number): bigint | undefined {
    return this.#interrupts?.readMsr(index);
  }
  writeInterruptsMsr(index: number, value: bigint): boolean | "fault" {
    return this.#interrupts?.writeMsr(index, value) ?? false;
  }

  /** After power-on or a reset: the bootstrap processor executes, the others wait for INIT (Intel SDM Vol. 3A §9.4). */
  get #initialActivity(): Activity {
    return this.index === 0 ? activity.running : activity.uninitialized;
  }

  /** Power-on or reset state. */
  reset(): void {
    this.activity = this.#initialActivity;
    this.nmiMasked = false;
    this.nmiPending = false;
    this.pendingEvent = undefined;
    resetRegisters(this, false);
    this.timeStamp.restore(0n, 0n);
    this.code.flush();
  }
}
