import type { AccessSize, PciCapability, PciFunctionDescription } from "@cpr/core";
import { command, configurationSize, header, status } from "./registers.ts";

/** Where a capability is. */
interface PlacedCapability {
  readonly offset: number;
  readonly contents: DataView;
  readonly data: PciCapability["data"];
}

const capabilityHeader = 2;
const dataSize = 4;

/** A function's configuration space with a type 0 header (PCI 3.0 §6.1): bytes, and which bits of them can be written. */
export class ConfigurationSpace {
  readonly bytes = new Uint8Array(configurationSize);
  readonly #view = new DataView(this.bytes.buffer);
  readonly #writable = new Uint8Array(configurationSize);
  readonly #initial: Uint8Array;
  readonly #capabilities: PlacedCapability[] = [];

  /** @throws {RangeError} if the capabilities do not fit */
  constructor(description: PciFunctionDescription, capabilities: readonly PciCapability[], interruptLine: number) {
    const view = this.#view;
    const writable = new DataView(this.#writable.buffer);
    view.setUint16(header.vendorId, description.vendorId, true);
    view.setUint16(header.deviceId, description.deviceId, true);
    // As firmware leaves it: the ranges are enabled.
    view.setUint16(header.command, description.bars.length > 0 || description.messages ? command.memorySpace : 0, true);
    writable.setUint16(header.command, command.memorySpace | command.busMaster | command.interruptDisable, true);
    view.setUint32(header.revision, description.classCode * 0x100 + description.revision, true);
    view.setUint16(header.subsystemVendorId, description.subsystemVendorId, true);
    view.setUint16(header.subsystemId, description.subsystemId, true);
    this.#writable[header.interruptLine] = 0xff;
    if (description.interruptPin === true) {
      view.setUint8(header.interruptLine, interruptLine);
      view.setUint8(header.interruptPin, 1);
    }
    let link: number = header.capabilities;
    let end: number = header.end;
    for (const { id, contents, writable: mask, data } of capabilities) {
      const offset = end;
      const size = capabilityHeader + contents.length + (data === undefined ? 0 : dataSize);
      end = (offset + size + 3) & ~3;
      if (end > configurationSize) throw new RangeError("the capabilities do not fit in configuration space");
      view.setUint16(header.status, status.capabilities, true);
      this.bytes[link] = offset;
      this.bytes[offset] = id;
      link = offset + 1;
      const at = offset + capabilityHeader;
      this.bytes.set(contents, at);
      if (mask !== undefined) this.#writable.set(mask.subarray(0, contents.length), at);
      this.#capabilities.push({ offset, contents: new DataView(this.bytes.buffer, at, contents.length), data });
    }
    this.#initial = this.bytes.slice();
  }

  /** Gives the guest a base address register, and the address that it has after a reset. */
  addBar(index: number, size: number, address: number): void {
    const at = header.bars + 4 * index;
    new DataView(this.#writable.buffer).setUint32(at, -size, true);
    for (const bytes of [this.bytes, this.#initial]) new DataView(bytes.buffer).setUint32(at, address, true);
  }

  get command(): number {
    return this.#view.getUint16(header.command, true);
  }

  bar(index: number): number {
    return this.#view.getUint32(header.bars + 4 * index, true);
  }

  /** What follows the header of the first capability with an id. */
  capability(id: number): DataView | undefined {
    return this.#capabilities.find(({ offset }) => this.bytes[offset] === id)?.contents;
  }

  set interruptStatus(level: boolean) {
    const others = (this.bytes[header.status] as number) & ~status.interrupt;
    this.bytes[header.status] = others | (level ? status.interrupt : 0);
  }

  read(offset: number, size: AccessSize): number {
    const special = this.#dataAt(offset);
    if (special?.data !== undefined) return special.data.read(special.contents, size);
    let value = 0;
    for (let index = 0; index < size; index++) value += (this.bytes[offset + index] ?? 0xff) * 2 ** (8 * index);
    return value;
  }

  write(offset: number, size: AccessSize, value: number): void {
    const special = this.#dataAt(offset);
    if (special?.data !== undefined) {
      special.data.write(special.contents, size, value);
      return;
    }
    for (let index = 0; index < size && offset + index < configurationSize; index++) {
      const mask = this.#writable[offset + index] as number;
      const before = this.bytes[offset + index] as number;
      this.bytes[offset + index] = (before & ~mask) | ((value >>> (8 * index)) & mask);
    }
  }

  reset(): void {
    this.bytes.set(this.#initial);
  }

  /** A copy in which the status register does not tell the level of the interrupt, which follows from other states. */
  save(): Uint8Array {
    const copy = this.bytes.slice();
    copy[header.status] = (copy[header.status] as number) & ~status.interrupt;
    return copy;
  }

  /** Whether other bytes differ from these in what the guest can write only. */
  isPossible(bytes: Uint8Array): boolean {
    return this.#initial.every((byte, at) => ((byte ^ (bytes[at] as number)) & ~(this.#writable[at] as number)) === 0);
  }

  restore(bytes: Uint8Array): void {
    this.bytes.set(bytes);
  }

  #dataAt(offset: number): PlacedCapability | undefined {
    return this.#capabilities.find(
      (each) => each.data !== undefined && offset === each.offset + capabilityHeader + each.contents.byteLength,
    );
  }
}
