import type { InterruptLine, ProcessorInterrupts } from "./interrupt.ts";

/** A device with interrupt input pins, e.g. the 8259A pair or an IOAPIC. The board wires `DeviceContext.interrupt` to them. */
export interface InterruptController {
  /**
   * The line of an input pin: always the same object for the same pin. Level changes take effect at once.
   *
   * @throws {RangeError} if there is no such pin.
   */
  input(pin: number): InterruptLine;
}

/** The interrupt output of the 8259A pair: INTR and the acknowledge cycle that fetches the vector. */
export interface ExternalInterrupts {
  /** Whether INTR is asserted. */
  requested(): boolean;
  /** The interrupt acknowledge cycle; a request that went away meanwhile gives the spurious vector. */
  acknowledge(): number;
  /** Called when the answer of {@link requested} may have changed. Set by what INTR leads to. */
  onChange: () => void;
}

/** The delivery mode field of interrupt messages (Intel SDM Vol. 3A §11.6.1). */
export type DeliveryMode = "fixed" | "lowest-priority" | "smi" | "nmi" | "init" | "startup" | "external";

/** Delivery modes by their encoding in interrupt messages, redirection entries, local vector table entries and the interrupt command register. */
export const deliveryModes: readonly (DeliveryMode | undefined)[] = [
  "fixed",
  "lowest-priority",
  "smi",
  undefined,
  "nmi",
  "init",
  "startup",
  "external",
];

/** An interrupt message between APICs. */
export interface ApicMessage {
  /** An APIC id or, if `logical`, a message destination address; 0xff and 0xffffffff reach every local APIC. */
  readonly destination: number;
  readonly logical: boolean;
  readonly deliveryMode: DeliveryMode;
  readonly vector: number;
  readonly trigger: "edge" | "level";
}

/** What joins the local APICs and the IOAPIC. */
export interface ApicBus {
  /**
   * Brings a message to the local APICs that it is meant for.
   *
   * @param except a local APIC that is passed over, for the shorthand `all excluding self`
   */
  send(message: ApicMessage, except?: LocalApic): void;
  /** An IOAPIC's pin sends another message from now on, or none while it is masked: for local APICs that want to know before. */
  route(pin: number, message: ApicMessage | undefined): void;
  /** A local APIC has ended a level-triggered interrupt: IOAPICs look at their pins again. */
  endOfInterrupt(vector: number): void;
}

/** A local APIC as the board and the APIC bus see it. */
export interface LocalApic extends ProcessorInterrupts {
  /** Whether a message's destination names this local APIC (Intel SDM Vol. 3A §11.6.2). */
  matches(message: ApicMessage): boolean;
  /** The processor priority, by which a lowest-priority interrupt chooses its target. */
  readonly processorPriority: number;
  receive(message: ApicMessage): void;
  /** Reads a register by its offset in the memory-mapped page; all ones unless in xAPIC mode. */
  readRegister(offset: number): number;
  writeRegister(offset: number, value: number): void;
}
