import {
  type AccessSize,
  type ApicMessage,
  type BusClaim,
  type BusHandler,
  type BusSpace,
  bytes,
  defineState,
  type FieldType,
  type PciCapability,
  type PciFunction,
  type PciFunctionDescription,
  type PciFunctionState,
  type PciMessages,
} from "@cpr/core";
import { ConfigurationSpace } from "./configuration-space.ts";
import { type MessageState, MessageTable, messageTableField } from "./message-table.ts";
import { command, configurationSize, messageCapability, messageControl } from "./registers.ts";

/** What a slot is to its bus. */
export interface SlotWiring {
  readonly owner: string;
  readonly mmio: BusSpace;
  /** What the interrupt line register says after a reset. */
  readonly interruptLine: number;
  /** A place in the window for a range of this size. */
  assign(size: number): number;
  setPin(level: boolean): void;
  send(message: ApicMessage): void;
  /** Ranges have moved: what had no place may have one now. */
  moved(): void;
}

/** A range with a base address register, and where it answers at present. */
interface PlacedBar {
  readonly index: number;
  readonly size: number;
  readonly handler: BusHandler;
  address: number;
  claim: BusClaim | undefined;
}

/** The least size of a range of memory (PCI 3.0 §6.2.5.1). */
const leastBar = 16;

/** A function in a slot of a bus: its configuration space, the ranges that it answers, its interrupts. */
export class PciSlot implements PciFunction {
  readonly owner: string;
  readonly state: PciFunctionState;
  readonly #wiring: SlotWiring;
  readonly #configuration: ConfigurationSpace;
  readonly #bars: readonly PlacedBar[];
  readonly #messages: MessageTable | undefined;
  readonly #messageControl: DataView | undefined;
  readonly #busMasterChanged: () => void;
  #busMaster = false;
  #level = false;
  #pin = false;

  constructor(description: PciFunctionDescription, wiring: SlotWiring) {
    this.owner = wiring.owner;
    this.#wiring = wiring;
    this.#busMasterChanged = () => description.busMasterChanged?.();
    const { messages } = description;
    const table = messages === undefined ? undefined : new MessageTable(messages.vectors, (each) => this.#send(each));
    this.#messages = table;
    const capabilities =
      messages === undefined || table === undefined
        ? description.capabilities
        : [messagesCapability(messages, table), ...description.capabilities];
    this.#configuration = new ConfigurationSpace(description, capabilities, wiring.interruptLine);
    this.#messageControl = table === undefined ? undefined : this.#configuration.capability(messageCapability.id);
    const ranges =
      messages === undefined || table === undefined
        ? description.bars
        : [...description.bars, { index: messages.bar, size: table.size, handler: table.handler }];
    this.#bars = ranges.map(({ index, size, handler }) => {
      if (size < leastBar || (size & (size - 1)) !== 0) throw new RangeError(`a range of ${size} bytes`);
      this.#configuration.addBar(index, size, wiring.assign(size));
      return { index, size, handler, address: 0, claim: undefined };
    });
    const fields: Record<string, FieldType<unknown>> = {
      configuration: bytes(configurationSize) as FieldType<unknown>,
    };
    if (messages !== undefined) fields.messages = messageTableField(messages.vectors) as FieldType<unknown>;
    this.state = {
      schema: defineState("pci-function", 1, fields),
      save: () => ({
        configuration: this.#configuration.save(),
        ...(table === undefined ? {} : { messages: table.save() }),
      }),
      problemOf: ({ configuration }) =>
        this.#configuration.isPossible(configuration as Uint8Array)
          ? undefined
          : "its configuration space is that of another device",
      restore: (state) => {
        this.#configuration.restore(state.configuration as Uint8Array);
        table?.restore(state.messages as MessageState[]);
        this.#follow();
      },
    };
    this.#follow();
  }

  get messagesEnabled(): boolean {
    return this.#messages?.enabled === true;
  }

  get busMaster(): boolean {
    return this.#busMaster;
  }

  setInterrupt(level: boolean): void {
    this.#level = level;
    this.#configuration.interruptStatus = level;
    this.#followPin();
  }

  sendMessage(vector: number): void {
    this.#messages?.send(vector);
  }

  reset(): void {
    this.#configuration.reset();
    this.#messages?.reset();
    this.#level = false;
    this.#follow();
  }

  readConfiguration(offset: number, size: AccessSize): number {
    return this.#configuration.read(offset, size);
  }

  writeConfiguration(offset: number, size: AccessSize, value: number): void {
    this.#configuration.write(offset, size, value);
    this.#follow();
  }

  /** Answers where the base address registers say, as far as nobody else answers there. */
  claimRanges(): void {
    const { mmio, owner } = this.#wiring;
    for (const bar of this.#bars) {
      if (bar.claim === undefined && bar.address !== 0 && mmio.isFree(bar.address, bar.size)) {
        bar.claim = mmio.claim(owner, bar.address, bar.size, bar.handler);
      }
    }
  }

  /** Does what follows from the present configuration space. */
  #follow(): void {
    const enabled = (this.#configuration.command & command.memorySpace) !== 0;
    const busMaster = (this.#configuration.command & command.busMaster) !== 0;
    if (busMaster !== this.#busMaster) {
      this.#busMaster = busMaster;
      this.#busMasterChanged();
    }
    let moved = false;
    for (const bar of this.#bars) {
      const address = enabled ? this.#configuration.bar(bar.index) : 0;
      if (address === bar.address) continue;
      bar.address = address;
      bar.claim?.release();
      bar.claim = undefined;
      moved = true;
    }
    if (moved) this.#wiring.moved();
    const control = this.#messageControl?.getUint16(messageCapability.control, true) ?? 0;
    if (this.#messages !== undefined) {
      this.#messages.enabled = (control & messageControl.enable) !== 0;
      this.#messages.allMasked = (control & messageControl.maskAll) !== 0;
      this.#messages.sendPending();
    }
    this.#configuration.interruptStatus = this.#level;
    this.#followPin();
  }

  #followPin(): void {
    const disabled = (this.#configuration.command & command.interruptDisable) !== 0 || this.messagesEnabled;
    const pin = this.#level && !disabled;
    if (pin === this.#pin) return;
    this.#pin = pin;
    this.#wiring.setPin(pin);
  }

  /** A message is a write to memory, which a function may make as a bus master only (PCI 3.0 §6.2.2). */
  #send(message: ApicMessage): void {
    if (this.#busMaster) this.#wiring.send(message);
  }
}

function messagesCapability({ vectors, bar }: PciMessages, { pendingOffset }: MessageTable): PciCapability {
  if (vectors < 1 || vectors > messageCapability.maximumVectors) throw new RangeError(`${vectors} MSI-X vectors`);
  const contents = new Uint8Array(messageCapability.size);
  const writable = new Uint8Array(messageCapability.size);
  const view = new DataView(contents.buffer);
  view.setUint16(messageCapability.control, vectors - 1, true);
  view.setUint32(2, bar, true);
  view.setUint32(6, pendingOffset + bar, true);
  new DataView(writable.buffer).setUint16(
    messageCapability.control,
    messageControl.enable | messageControl.maskAll,
    true,
  );
  return { id: messageCapability.id, contents, writable };
}
