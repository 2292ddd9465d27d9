import {
  type ApicBus,
  type ApicMessage,
  type Device,
  type DeviceContext,
  type DeviceModel,
  deliveryModes,
  type InterruptController,
  type InterruptLine,
} from "@cpr/core";
import { deviceErrors } from "../errors.ts";
import { Properties } from "../properties.ts";
import { stateCheckpoint } from "../state-checkpoint.ts";
import { offset, pinCount, redirection, register, version, window } from "./registers.ts";
import { type IoapicState, ioapicState } from "./state.ts";

/** An IOAPIC as its APIC bus sees it. */
export interface Ioapic extends InterruptController {
  /** A local APIC has ended a level-triggered interrupt with this vector. */
  endOfInterrupt(vector: number): void;
}

interface Entry {
  low: number;
  high: number;
}

/**
 * An IOAPIC with 24 pins and version 0x20 (Intel 82093AA data sheet; Intel I/O Controller Hub data sheets for the
 * end-of-interrupt register). Lines carry logical levels, so the polarity bit of an entry has no effect.
 */
class PcIoapic implements Device, Ioapic {
  readonly id: string;
  readonly checkpoint = stateCheckpoint(
    ioapicState,
    () => this.#save(),
    (state) => this.#restore(state),
  );

  readonly #bus: ApicBus;
  readonly #initialId: number;
  readonly #inputs: readonly InterruptLine[];
  #apicId: number;
  #select = 0;
  #levels = 0;
  #entries: Entry[] = maskedEntries();

  constructor(context: DeviceContext) {
    const properties = new Properties(context);
    this.id = context.id;
    this.#bus = properties.part<ApicBus>("apicBus", "send", "route", "endOfInterrupt");
    this.#initialId = properties.integer("apicId", 15, 0);
    this.#apicId = this.#initialId;
    this.#inputs = Array.from({ length: pinCount }, (_, pin) => ({
      set: (level: boolean) => this.#setInput(pin, level),
    }));
    context.bus.mmio.claim(context.id, properties.integer("address", 0xffff_f000, window.base), window.size, {
      read: (at) => {
        if (at === offset.select) return this.#select;
        return at === offset.data ? this.#read(this.#select) : 0;
      },
      write: (at, _size, value) => {
        if (at === offset.select) this.#select = value & 0xff;
        else if (at === offset.data) this.#write(this.#select, value);
        else if (at === offset.endOfInterrupt) this.endOfInterrupt(value & 0xff);
      },
    });
  }

  input(pin: number): InterruptLine {
    const line = this.#inputs[pin];
    if (line === undefined) {
      throw new RangeError(`the IOAPIC has no input ${pin}`);
    }
    return line;
  }

  endOfInterrupt(vector: number): void {
    for (const [pin, entry] of this.#entries.entries()) {
      if ((entry.low & redirection.remoteRequest) !== 0 && (entry.low & redirection.vector) === vector) {
        entry.low &= ~redirection.remoteRequest;
        this.#serviceLevel(pin);
      }
    }
  }

  /** The input pins keep their levels: they are driven from outside. */
  reset(): void {
    this.#apicId = this.#initialId;
    this.#select = 0;
    this.#entries = maskedEntries();
    this.#routeAll();
  }

  #read(index: number): number {
    if (index >= register.redirection) {
      const entry = this.#entries[(index - register.redirection) >> 1];
      if (entry === undefined) return 0;
      return (((index & 1) === 0 ? entry.low : entry.high) >>> 0) as number;
    }
    switch (index) {
      case register.id:
      case register.arbitration:
        return this.#apicId * 2 ** 24;
      case register.version:
        return version | ((pinCount - 1) << 16);
      default:
        return 0;
    }
  }

  #write(index: number, value: number): void {
    if (index === register.id) {
      this.#apicId = (value >>> 24) & 0xf;
    }
    const pin = (index - register.redirection) >> 1;
    const entry = index < register.redirection ? undefined : this.#entries[pin];
    if (entry === undefined) {
      return;
    }
    if ((index & 1) === 1) {
      entry.high = value & 0xff00_0000;
      this.#route(pin, entry);
      return;
    }
    const before = entry.low;
    entry.low = (value & redirection.writable) | (before & redirection.readOnly);
    if ((entry.low & redirection.level) === 0) {
      // An edge-triggered entry has no remote IRR: the guest's way to clear a stuck one.
      entry.low &= ~redirection.remoteRequest;
    }
    this.#route(pin, entry);
    this.#serviceLevel(pin);
  }

  #setInput(pin: number, level: boolean): void {
    const bit = 1 << pin;
    if (((this.#levels & bit) !== 0) === level) {
      return;
    }
    if (!level) {
      this.#levels &= ~bit;
      return;
    }
    this.#levels |= bit;
    const entry = this.#entries[pin] as Entry;
    if ((entry.low & redirection.level) !== 0) {
      this.#serviceLevel(pin);
    } else if ((entry.low & redirection.masked) === 0) {
      // NOTE: an edge on a masked pin is lost (82093AA data sheet §3.2.4); a level waits.
      this.#send(entry);
    }
  }

  /** Sends the interrupt of a level-triggered pin if it is asserted and its entry lets it through. */
  #serviceLevel(pin: number): void {
    const entry = this.#entries[pin] as Entry;
    const ready = redirection.level | redirection.masked | redirection.remoteRequest;
    if ((this.#levels & (1 << pin)) !== 0 && (entry.low & ready) === redirection.level) {
      this.#send(entry);
    }
  }

  #send(entry: Entry): void {
    const message = messageOf(entry);
    if (message === undefined) {
      return;
    }
    if (
      message.trigger === "level" &&
      (message.deliveryMode === "fixed" || message.deliveryMode === "lowest-priority")
    ) {
      entry.low |= redirection.remoteRequest;
    }
    this.#bus.send(message);
  }

  #route(pin: number, entry: Entry): void {
    this.#bus.route(pin, (entry.low & redirection.masked) === 0 ? messageOf(entry) : undefined);
  }

  #routeAll(): void {
    for (const [pin, entry] of this.#entries.entries()) {
      this.#route(pin, entry);
    }
  }

  #save(): IoapicState {
    return {
      id: this.#apicId,
      select: this.#select,
      inputs: this.#levels >>> 0,
      entries: this.#entries.map(({ low, high }) => ({ low: low >>> 0, high: high >>> 0 })),
    };
  }

  #restore(state: IoapicState): void {
    const pins = 2 ** pinCount;
    const reason =
      state.inputs >= pins
        ? "pins that it does not have"
        : state.id > 15
          ? `APIC id ${state.id}`
          : state.entries.some(({ low }) => (low & ~(redirection.writable | redirection.readOnly)) !== 0)
            ? "reserved bits of a redirection entry are set"
            : undefined;
    if (reason !== undefined) {
      throw deviceErrors.ERR_CPR_DEVICE_STATE({ device: this.id, reason });
    }
    this.#apicId = state.id;
    this.#select = state.select;
    this.#levels = state.inputs;
    this.#entries = state.entries.map(({ low, high }) => ({ low, high }));
    this.#routeAll();
  }
}

/** What a redirection entry makes of its pin's interrupt; undefined if its delivery mode is reserved. */
function messageOf({ low, high }: Entry): ApicMessage | undefined {
  const deliveryMode = deliveryModes[(low >> redirection.deliveryShift) & 7];
  return deliveryMode === undefined
    ? undefined
    : {
        destination: high >>> 24,
        logical: (low & redirection.logical) !== 0,
        deliveryMode,
        vector: low & redirection.vector,
        trigger: (low & redirection.level) !== 0 ? "level" : "edge",
      };
}

function maskedEntries(): Entry[] {
  return Array.from({ length: pinCount }, () => ({ low: redirection.masked, high: 0 }));
}

/** Makes IOAPICs. Properties: `apicBus`; `apicId`, 0 by default; `address`, 0xfec00000 by default. */
export class IoapicModel implements DeviceModel {
  readonly name = "ioapic";

  create(context: DeviceContext): Device & Ioapic {
    return new PcIoapic(context);
  }
}
