import type { Bus } from "./bus.ts";
import type { VirtualClock } from "./clock.ts";
import type { GuestMemory, RamAlignment, RamAllocation, RamRegion } from "./guest-memory.ts";
import type { ProcessorInterrupts } from "./interrupt.ts";
import type { ApicMessage, ExternalInterrupts } from "./interrupt-controller.ts";
import type { LocalApicState } from "./local-apic-state.ts";
import { extensionPoint } from "./plugin.ts";
import type { ProcessorState } from "./processor-state.ts";
import type { DueTimers } from "./timer-queue.ts";

/** What an execution backend can do, as data. */
export interface BackendSupports {
  /**
   * Where the interrupt controllers are, in QEMU's words (`kernel-irqchip`): `off`, all of them are the board's devices;
   * `split`, the local APICs are the backend's ({@link Execution.localApics}), 8259A pair, IOAPIC and PIT the board's.
   */
  readonly kernelIrqchip: "off" | "split";
  /** Greatest number of vCPUs. */
  readonly maximumProcessors: number;
  /** Greatest amount of RAM in bytes. */
  readonly maximumRam: number;
  /** Writes to guest RAM can be logged. */
  readonly dirtyLog: boolean;
}

/** Whether a backend works on this host, and if not, why: one clear sentence. */
export type BackendAvailability =
  | {
      readonly available: true;
      readonly note: string;
      /** The only frequency in Hz at which a guest's time-stamp counter can run here; undefined if any will do. */
      readonly tscFrequency?: number;
    }
  | { readonly available: false; readonly reason: string; readonly hint?: string };

/** What a backend tells the machine. */
export type ExecutionEvent =
  /** A fault while a double fault was being delivered (Intel SDM Vol. 3A §6.15). */
  | { readonly kind: "triple-fault"; readonly processor: number; readonly report: string }
  /** The backend cannot go on; the VM enters runstate internal-error. */
  | { readonly kind: "internal-error"; readonly processor: number; readonly report: string };

/** What the machine gives a backend to run it. */
export interface ExecutionContext {
  readonly memory: GuestMemory;
  readonly allocation: RamAllocation;
  readonly bus: Bus;
  readonly clock: VirtualClock;
  /** Timers of the devices: the backend runs those that are due between slices of guest execution. */
  readonly timers: DueTimers;
  readonly processorModel: string;
  readonly processorCount: number;
  /** Frequency in Hz of the guest's time-stamp counter, until a state is restored that says another one. */
  readonly tscFrequency: number;
  readonly onEvent: (event: ExecutionEvent) => void;
}

/** The local APICs of a backend that has its own, and what joins them with the board's interrupt controllers. */
export interface BackendLocalApics {
  /** Brings an interrupt message of an IOAPIC to the local APICs that it is meant for. Also while the VM is stopped. */
  send(message: ApicMessage): void;
  /**
   * Tells what an IOAPIC's pin sends, undefined if it is masked: the backend calls back at the end of a level-triggered
   * interrupt of these only.
   */
  route(pin: number, message: ApicMessage | undefined): void;
  /** A local APIC has ended a level-triggered interrupt. Set by the board. */
  onEndOfInterrupt: (vector: number) => void;
  /** Wires the 8259A pair's INTR to LINT0 of the boot processor. Called once, before the guest runs. */
  connectExternal(external: ExternalInterrupts): void;
  /** Only while paused, like the vCPUs' states; they change nothing. */
  save(processor: number): LocalApicState;
  /** @throws {CprError} if the state is impossible; nothing has changed then. */
  restore(processor: number, state: LocalApicState): void;
  reset(processor: number): void;
}

/** The vCPUs of one VM. Made stopped, each vCPU in its power-on state: the first one begins, the others wait for INIT. */
export interface Execution {
  /** Given where `supports.kernelIrqchip` is `split`. */
  readonly localApics?: BackendLocalApics;
  /** Gives a vCPU its interrupt controller. Called once for each before {@link start}, if `kernelIrqchip` is `off`. */
  attachInterrupts(processor: number, interrupts: ProcessorInterrupts): void;
  /** Begins or goes on executing the guest. Returns at once. */
  start(): void;
  /** Stops all vCPUs at an instruction boundary. Fulfilled when no guest instruction executes any more. */
  pause(): Promise<void>;
  /** Makes the backend look at timers, interrupts and requests soon. May be called from anywhere on the machine thread. */
  kick(): void;
  /** The state of a vCPU; only while paused. It changes nothing. */
  saveProcessor(processor: number): ProcessorState;
  /**
   * Whether {@link restoreProcessor} would take a state; it changes nothing.
   *
   * @throws {CprError} if the state is impossible or needs what this backend lacks on this host.
   */
  checkProcessor(processor: number, state: ProcessorState): void;
  /**
   * Puts a vCPU in a state; only while paused.
   *
   * @throws {CprError} as {@link checkProcessor} does; nothing has changed then.
   */
  restoreProcessor(processor: number, state: ProcessorState): void;
  /** Power-on or reset state (Intel SDM Vol. 3A table 10-1); only while paused. */
  resetProcessor(processor: number): void;
  /**
   * Index of the vCPU on whose behalf the bus is being accessed: every vCPU has its own local APIC at the same address.
   * A backend that runs more than one vCPU must have it.
   */
  currentProcessor?(): number;
  /** Instructions executed so far by all vCPUs, if the backend counts them. */
  instructionsExecuted?(): number;
  close(): Promise<void>;
}

/** An execution backend: QEMU calls it an accelerator. */
export interface Backend {
  /** Name for `-accel`; the key under `provides`. */
  readonly name: string;
  readonly supports: BackendSupports;
  /** Backends are tried in descending order of preference when the user names none. */
  readonly preference: number;
  /** Names of the CPU models that it can provide, the default first. */
  readonly processorModels: readonly string[];
  /** Whether it works on this host. Called on the main thread. */
  probe(): Promise<BackendAvailability>;
  /** Features of one of its CPU models that this host lacks, by QEMU's names. Called where {@link probe} said that it works. */
  missingFeatures?(model: string): Promise<readonly string[]>;
  /**
   * Reserves address space for guest RAM: zero, not yet populated. Called on the main thread.
   *
   * @param alignment - where the RAM has to begin; anywhere if it is not given.
   * @throws {CprError} if the size is more than the backend or the host can address.
   */
  allocateRam(size: number, alignment?: RamAlignment): RamAllocation;
  /** The same memory on the machine thread. */
  adoptRam(handle: unknown): RamAllocation;
  /**
   * Loads what {@link createExecution} needs. Called on the machine thread as soon as the backend is chosen, while the
   * main thread opens RAM; `createExecution` does not wait for it and is told of no failure.
   */
  prepare?(): Promise<void>;
  /** Makes the vCPUs. Called on the machine thread. */
  createExecution(context: ExecutionContext): Promise<Execution>;
}

export const Backend = extensionPoint<Backend>("backend");

export type { RamRegion };
