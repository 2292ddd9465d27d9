import type { Bus, ProcessorInterrupts, VirtualClock } from "@cpr/core";
import type { ProcessorCore } from "../processor-interface.ts";
import type { ProcessorFeatures } from "./cpu-model.ts";
import type { PagedMemory } from "./linear-memory.ts";
import type { ModelSpecificRegisters } from "./msr.ts";
import type { ParavirtualClock } from "./paravirtual-clock.ts";
import type { PhysicalMemory } from "./physical-memory.ts";
import type { Registers } from "./registers.ts";
import type { TimeStampCounter } from "./time-stamp-counter.ts";
import type { TranslationBuffer } from "./translation-buffer.ts";

/** How an event came to be delivered; says what the checks and the stored RFLAGS are (Intel SDM Vol. 3A §6.12). */
export type EventKind = "interrupt" | "nmi" | "exception" | "software";

/** What the system instructions use of the processor. */
export interface SystemProcessor extends ProcessorCore {
  /** Index of the vCPU, and its APIC id. */
  readonly index: number;
  readonly registers: Registers;
  readonly linear: PagedMemory;
  readonly translations: TranslationBuffer;
  readonly modelRegisters: ModelSpecificRegisters;
  readonly features: ProcessorFeatures;
  readonly timeStamp: TimeStampCounter;
  readonly paravirtualClock: ParavirtualClock;
  readonly physical: PhysicalMemory;
  readonly bus: Bus;
  readonly clock: VirtualClock;
  /** Undefined until the machine has attached them. */
  readonly interrupts: ProcessorInterrupts | undefined;
  /** RIP of the block that executes. */
  blockInstructionPointer(): bigint;
  /** The check of a segment's limit and rights: #GP(0), or #SS(0) for SS. Not for 64-bit mode. */
  checkSegment(index: number, offset: bigint, size: number, write: boolean): void;
  /** Instructions execute one at a time: RFLAGS.TF is set or a breakpoint is enabled. */
  readonly singleStepping: boolean;
  /** Tells the breakpoints of a port access. */
  watchPort(port: number, size: number): void;
  /** Whether a data breakpoint lies in the page of a linear address. */
  watchesPage(high: number, low: number): boolean;
  /** Sets CPL. Follow it by {@link modeChanged}. */
  setPrivilege(level: number): void;
  /** Must be called after whatever {@link ProcessorCore.mode} depends on has changed: CR0, CR4, EFER, CS, SS, DS, ES, CPL, RFLAGS.VM. */
  modeChanged(): void;
  /** Empties the TLB and the jump cache; `keepGlobal` as a load of CR3 does. */
  flushTranslations(keepGlobal: boolean): void;
  /** INVLPG. */
  invalidatePage(address: bigint): void;
  /** Makes `run` return before the next block, so that events are looked at. */
  forceReturn(): void;
  /** Holds interrupts off for one instruction: 1 after STI, 2 after a load of SS. */
  setInterruptShadow(kind: 1 | 2): void;
  /** Delivers an event through the IDT or IVT; RIP becomes the handler's. Raises what goes wrong. */
  deliver(vector: number, kind: EventKind, errorCode: number | undefined, returnAddress: bigint): void;
  /** HLT: the processor waits for an interrupt. */
  halt(): void;
  /** PAUSE: the program waits for another processor. */
  pause(): void;
  /** The handler of an NMI has returned. */
  unmaskNmi(): void;
  /** DR7 or CR4.DE has changed. */
  breakpointsChanged(): void;
}
