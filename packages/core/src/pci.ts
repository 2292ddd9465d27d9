import type { BusHandler } from "./bus.ts";
import type { StateSchema } from "./state/schema.ts";

/** A range of guest-physical addresses that a function answers, wherever the guest puts it (PCI 3.0 §6.2.5.1). */
export interface PciBar {
  /** Which base address register: 0 to 5. */
  readonly index: number;
  /** In bytes, a power of two from 16 on. */
  readonly size: number;
  /** Offsets count from the start of the range. */
  readonly handler: BusHandler;
}

/** An entry of the capabilities list (PCI 3.0 §6.7). */
export interface PciCapability {
  /** Capability id, e.g. 9 for one that the vendor defines. */
  readonly id: number;
  /** What follows the id and the pointer to the next capability. */
  readonly contents: Uint8Array;
  /** The bits of {@link contents} that the guest can change; none if it is not given. */
  readonly writable?: Uint8Array;
  /** Four bytes behind {@link contents} that are no memory, but do something. They are given the contents as they are now. */
  readonly data?: {
    read(contents: DataView, size: 1 | 2 | 4): number;
    write(contents: DataView, size: 1 | 2 | 4, value: number): void;
  };
}

/** Where a function's MSI-X table and pending bits are (PCI 3.0 §6.8.2). The bus answers there; the function has no BAR with this index. */
export interface PciMessages {
  /** 1 to 2048. */
  readonly vectors: number;
  /** The base address register of the range that holds both. */
  readonly bar: number;
}

/** What a PCI function is, as data. */
export interface PciFunctionDescription {
  readonly vendorId: number;
  readonly deviceId: number;
  readonly revision: number;
  /** Base class, sub-class and programming interface, 24 bits (PCI 3.0 appendix D). */
  readonly classCode: number;
  readonly subsystemVendorId: number;
  readonly subsystemId: number;
  readonly bars: readonly PciBar[];
  readonly capabilities: readonly PciCapability[];
  /** It has an interrupt pin, INTA# (PCI 3.0 §2.2.6). */
  readonly interruptPin?: true;
  /** It has MSI-X. */
  readonly messages?: PciMessages;
  /** {@link PciFunction.busMaster} has changed. */
  busMasterChanged?(): void;
}

/** The part of a device's state that is the PCI function's: configuration space and MSI-X. It belongs into the device's own state. */
export interface PciFunctionState {
  readonly schema: StateSchema;
  save(): Readonly<Record<string, unknown>>;
  /** Why a state that fits the schema cannot be taken, or undefined if {@link restore} takes it. */
  problemOf(state: Readonly<Record<string, unknown>>): string | undefined;
  /** Takes a state that has no {@link problemOf}. */
  restore(state: Readonly<Record<string, unknown>>): void;
}

/** A function that is plugged into a bus, as its device sees it. */
export interface PciFunction {
  /** The level of the interrupt pin. It reaches the interrupt controller unless the guest has disabled it, or uses MSI-X. */
  setInterrupt(level: boolean): void;
  /** The guest has enabled MSI-X: interrupts are to be sent with {@link sendMessage}. */
  readonly messagesEnabled: boolean;
  /** The guest lets the function read and write RAM and send messages (PCI 3.0 §6.2.2). Its device keeps to it; messages are held back here. */
  readonly busMaster: boolean;
  /** Sends the message of an MSI-X vector; if it is masked it is pending. */
  sendMessage(vector: number): void;
  readonly state: PciFunctionState;
  /** As it is after a reset of the machine: as firmware leaves it, with ranges assigned and enabled. */
  reset(): void;
}

/** A PCI bus into which devices are plugged: what a device of a model that plugs into `pci` gets as its property `bus`. */
export interface PciBus {
  /**
   * Plugs in a function. Its device calls this once, when it is made.
   *
   * @param owner the device's id
   * @param address the property `addr` as the user wrote it, `SLOT` or `SLOT.0` in hexadecimal; undefined: the first free slot
   * @throws {CprError} if the slot is taken, or there is none
   */
  plug(owner: string, description: PciFunctionDescription, address: string | undefined): PciFunction;
}
