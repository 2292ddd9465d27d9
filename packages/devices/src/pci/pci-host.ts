import {
  type AccessSize,
  type ApicBus,
  type Device,
  type DeviceCheckpoint,
  type DeviceContext,
  type DeviceModel,
  defineState,
  type PciBus,
  type PciFunction,
  type PciFunctionDescription,
  struct,
  u32,
} from "@cpr/core";
import { deviceErrors } from "../errors.ts";
import { Properties } from "../properties.ts";
import { PciSlot } from "./pci-slot.ts";
import { addressMask, mechanism, pinCount, slotCount } from "./registers.ts";

/** A host bridge that no driver has something special to do for: Red Hat's generic one. */
const hostBridge: PciFunctionDescription = {
  vendorId: 0x1b36,
  deviceId: 0x0008,
  revision: 0,
  classCode: 0x06_0000,
  subsystemVendorId: 0x1af4,
  subsystemId: 0x1100,
  bars: [],
  capabilities: [],
};

const allOnes = { 1: 0xff, 2: 0xffff, 4: 0xffff_ffff } as const;

/**
 * A host bridge with one bus, which is reached by configuration mechanism #1 (PCI 3.0 §3.2.2.3.2). It does what firmware
 * does on other machines: ranges have addresses from the start on. The interrupt pins of the slots lead to four lines in turn.
 */
class PcPciHost implements Device, PciBus {
  readonly id: string;
  readonly buses = { pci: this };
  readonly checkpoint: DeviceCheckpoint;
  readonly #context: DeviceContext;
  readonly #apicBus: ApicBus;
  readonly #slots = new Array<PciSlot | undefined>(slotCount).fill(undefined);
  readonly #lines: readonly ((level: boolean) => void)[];
  readonly #firstInterrupt: number;
  readonly #bridge: PciFunction;
  readonly #windowEnd: number;
  #assigned: number;
  #address = 0;

  constructor(context: DeviceContext) {
    const properties = new Properties(context);
    this.id = context.id;
    this.#context = context;
    this.#apicBus = properties.part<ApicBus>("apicBus", "send");
    this.#firstInterrupt = properties.integer("firstInterrupt", 255);
    this.#assigned = properties.integer("windowBase", 0xffff_f000);
    this.#windowEnd = this.#assigned + properties.integer("windowSize", 0xffff_f000);
    this.#lines = Array.from({ length: pinCount }, (_, index) => {
      const line = context.interrupt(this.#firstInterrupt + index);
      let asserted = 0;
      return (level) => {
        asserted += level ? 1 : -1;
        line.set(asserted > 0);
      };
    });
    const { ports } = context.bus;
    // Only the double word is the register (PCI 3.0 §3.2.2.3.2); its single bytes are other devices'.
    ports.claim(context.id, mechanism.addressPort, 1, {
      read: (_offset, size) => (size === 4 ? this.#address : allOnes[size]),
      write: (_offset, size, value) => {
        if (size === 4) this.#address = (value & addressMask) >>> 0;
      },
    });
    ports.claim(context.id, mechanism.dataPort, 4, {
      read: (offset, size) =>
        this.#selected(offset, size)?.readConfiguration(this.#register(offset), size) ?? allOnes[size],
      write: (offset, size, value) =>
        this.#selected(offset, size)?.writeConfiguration(this.#register(offset), size, value),
    });
    this.#bridge = this.plug(context.id, hostBridge, "0");
    const schema = defineState("pci-host", 1, { address: u32, function: struct(this.#bridge.state.schema) });
    this.checkpoint = {
      kind: "state",
      schema,
      save: () => ({ address: this.#address, function: this.#bridge.state.save() }),
      restore: (state) => this.#restore(state as { address: number; function: Record<string, unknown> }),
    };
  }

  plug(owner: string, description: PciFunctionDescription, address: string | undefined): PciFunction {
    const slot = address === undefined ? this.#slots.indexOf(undefined) : this.#slotAt(owner, address);
    if (slot < 0) throw deviceErrors.ERR_CPR_PCI_FULL({ device: owner });
    const function_ = new PciSlot(description, {
      owner,
      mmio: this.#context.bus.mmio,
      interruptLine: this.#firstInterrupt + (slot % pinCount),
      assign: (size) => this.#assign(owner, size),
      setPin: (level) => this.#lines[slot % pinCount]?.(level),
      send: (message) => this.#apicBus.send(message),
      moved: () => {
        for (const each of this.#slots) each?.claimRanges();
      },
    });
    this.#slots[slot] = function_;
    function_.claimRanges();
    return function_;
  }

  reset(): void {
    this.#address = 0;
    this.#bridge.reset();
  }

  /** `SLOT` or `SLOT.0` in hexadecimal. */
  #slotAt(device: string, address: string): number {
    const match = /^(?:0x)?([0-9a-f]{1,2})(?:\.0)?$/i.exec(address);
    const slot = Number.parseInt(match?.[1] ?? "ff", 16);
    if (slot >= slotCount) throw deviceErrors.ERR_CPR_PCI_ADDRESS({ device, address });
    const holder = this.#slots[slot];
    if (holder !== undefined) throw deviceErrors.ERR_CPR_PCI_SLOT({ device, slot, holder: holder.owner });
    return slot;
  }

  #assign(device: string, size: number): number {
    const address = Math.ceil(this.#assigned / size) * size;
    if (address + size > this.#windowEnd) throw deviceErrors.ERR_CPR_PCI_WINDOW({ device, size });
    this.#assigned = address + size;
    return address;
  }

  /**
   * The function that the address register names, for an access to the data ports that stays within them. There is bus 0,
   * and function 0 in each slot.
   */
  #selected(offset: number, size: AccessSize): PciSlot | undefined {
    const valid = this.#address >= mechanism.enable && (this.#address & 0xff_0700) === 0 && offset + size <= 4;
    return valid ? this.#slots[(this.#address >>> 11) & 0x1f] : undefined;
  }

  #register(offset: number): number {
    return (this.#address & 0xfc) + offset;
  }

  #restore({ address, function: bridge }: { address: number; function: Record<string, unknown> }): void {
    const reason =
      (address & ~addressMask) === 0 ? this.#bridge.state.problemOf(bridge) : "reserved bits of the address are set";
    if (reason !== undefined) throw deviceErrors.ERR_CPR_DEVICE_STATE({ device: this.id, reason });
    this.#address = address;
    this.#bridge.state.restore(bridge);
  }
}

/**
 * Makes a host bridge with a PCI bus. Properties: `apicBus`, where messages go; `firstInterrupt`, the first of four interrupt
 * lines; `windowBase` and `windowSize`, the addresses that ranges are given.
 */
export class PciHostModel implements DeviceModel {
  readonly name = "pci-host";

  create(context: DeviceContext): Device & PciBus {
    return new PcPciHost(context);
  }
}
