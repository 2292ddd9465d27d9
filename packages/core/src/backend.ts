import type { Bus } from "./bus.ts";
import type { VirtualClock } from "./clock.ts";
import type { GuestMemory, RamAllocation, RamRegion } from "./guest-memory.ts";
import type { ProcessorInterrupts } from "./interrupt.ts";
import { extensionPoint } from "./plugin.ts";
import type { ProcessorState } from "./processor-state.ts";
import type { DueTimers } from "./timer-queue.ts";

/** What an execution backend can do, as data. */
export interface BackendSupports {
  /** The interrupt controllers and the PIT are the backend's own; the board makes none. */
  readonly inKernelIrqchip: boolean;
  /** Greatest number of vCPUs. */
  readonly maximumProcessors: number;
  /** Greatest amount of RAM in bytes. */
  readonly maximumRam: number;
  /** Writes to guest RAM can be logged. */
  readonly dirtyLog: boolean;
}

/** Whether a backend works on this host, and if not, why: one clear sentence. */
export type BackendAvailability =
  | { readonly available: true; readonly note: string }
  | { readonly available: false; readonly reason: string; readonly hint?: string };

/** A CPU model: what CPUID tells the guest, by name, so that it is the same on every backend. */
export interface ProcessorModel {
  readonly name: string;
}

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
  readonly onEvent: (event: ExecutionEvent) => void;
}

/** The vCPUs of one VM. Made stopped, each vCPU in its power-on state. */
export interface Execution {
  /** Gives a vCPU its interrupt controller. Called once for each before {@link start}, unless `inKernelIrqchip`. */
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
   * Puts a vCPU in a state; only while paused.
   *
   * @throws {CprError} if the state is impossible or needs what this backend lacks; nothing has changed then.
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
  /** CPU models that it can provide, the default first. */
  readonly processorModels: readonly ProcessorModel[];
  probe(): Promise<BackendAvailability>;
  /**
   * Reserves address space for guest RAM: zero, not yet populated. Called on the main thread.
   *
   * @throws {CprError} if the size is more than the backend or the host can address.
   */
  allocateRam(size: number): RamAllocation;
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
