import {
  defaultTscFrequency,
  type ProcessorEvent,
  type ProcessorInterrupts,
  type TimestampCounterRate,
} from "@cpr/core";

/** IA32_APIC_BASE. */
const apicBase = 0x1b;

/** One vCPU's interrupts, raised by hand. They are acknowledged in the order of their priority: the vector. */
export class ManualInterrupts implements ProcessorInterrupts {
  readonly #pending: number[] = [];
  readonly #events: ProcessorEvent[] = [];
  /** The vectors that were acknowledged, in the order of time. */
  readonly acknowledged: number[] = [];
  taskPriority = 0;
  timestampCounter: TimestampCounterRate = { frequency: defaultTscFrequency, offset: 0n };
  onChange: () => void = () => undefined;

  /** Makes an interrupt pending and tells the vCPU. */
  raise(vector: number): void {
    this.#pending.push(vector);
    this.#pending.sort((a, b) => b - a);
    this.onChange();
  }

  /** Makes an NMI, INIT or start-up IPI pending and tells the vCPU. */
  send(event: ProcessorEvent): void {
    this.#events.push(event);
    this.onChange();
  }

  pending(): boolean {
    const [vector] = this.#pending;
    return vector !== undefined && vector >> 4 > this.taskPriority;
  }

  acknowledge(): number {
    const vector = this.#pending.shift();
    if (vector === undefined) {
      throw new Error("no interrupt is pending");
    }
    this.acknowledged.push(vector);
    return vector;
  }

  takeEvent(): ProcessorEvent | undefined {
    return this.#events.shift();
  }

  readMsr(index: number): bigint | undefined {
    return index === apicBase ? 0xfee0_0900n : undefined;
  }

  writeMsr(index: number): boolean {
    return index === apicBase;
  }
}
