/** An interrupt request line between a device and an interrupt controller. Setting the present level again has no effect. */
export interface InterruptLine {
  /** `true` asserts the line, `false` releases it. */
  set(level: boolean): void;
}

/** A message-signalled interrupt: the address and data that a device would write (Intel SDM Vol. 3A §11.11). */
export interface InterruptMessage {
  /** Guest-physical address, 0xfee00000 to 0xfeefffff. */
  readonly address: number;
  readonly data: number;
}

/**
 * What one vCPU sees of the interrupt controllers when they are emulated in user space: its local APIC, with the
 * 8259A pair behind it. The execution backend calls it between instructions; it calls {@link onChange} when the
 * answer of {@link pending} may have become true, also from within a device's register access.
 */
export interface ProcessorInterrupts {
  /** Whether an interrupt waits that the task priority lets through. RFLAGS.IF is the vCPU's affair. */
  pending(): boolean;
  /** Interrupt acknowledge cycle: takes the interrupt that {@link pending} tells of and returns its vector. */
  acknowledge(): number;
  /** CR8: bits 7:4 of the task priority register (Intel SDM Vol. 3A §11.8.6). */
  taskPriority: number;
  /** IA32_APIC_BASE, IA32_TSC_DEADLINE and the x2APIC range; undefined if the MSR is not the local APIC's. */
  readMsr(index: number): bigint | undefined;
  /** Returns `false` if the MSR is not the local APIC's, `"fault"` if the value raises #GP. */
  writeMsr(index: number, value: bigint): boolean | "fault";
  /** Non-maskable interrupt, INIT or start-up IPI that waits, taken when asked for. */
  takeEvent(): ProcessorEvent | undefined;
  /**
   * The guest's time-stamp counter: its frequency, and what it is ahead of the virtual clock's count. The execution
   * backend sets it before the guest runs, whenever the guest writes IA32_TIME_STAMP_COUNTER or IA32_TSC_ADJUST and when
   * a vCPU's state is restored: IA32_TSC_DEADLINE is compared with the guest's counter. It is the backend's to save.
   */
  timestampCounter: TimestampCounterRate;
  /** Set by the execution backend. */
  onChange: () => void;
}

/** How a vCPU's time-stamp counter follows the virtual clock: `now * frequency / 10^9 + offset`. */
export interface TimestampCounterRate {
  /** In Hz. */
  readonly frequency: number;
  /** In ticks. */
  readonly offset: bigint;
}

/** What a local APIC can ask of its vCPU beside a maskable interrupt. */
export type ProcessorEvent =
  | { readonly kind: "nmi" }
  | { readonly kind: "init" }
  | { readonly kind: "startup"; readonly vector: number };
