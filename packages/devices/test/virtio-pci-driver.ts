import type { AccessSize, Bus } from "@cpr/core";
import type { DriverQueue } from "./virtio-driver.ts";

const status = { acknowledge: 1, driver: 2, driverOk: 4, featuresOk: 8 } as const;
const common = {
  deviceFeatureSelect: 0x00,
  deviceFeature: 0x04,
  driverFeatureSelect: 0x08,
  driverFeature: 0x0c,
  configurationVector: 0x10,
  status: 0x14,
  queueSelect: 0x16,
  queueSize: 0x18,
  queueVector: 0x1a,
  queueEnable: 0x1c,
  notifyOffset: 0x1e,
  descriptorTable: 0x20,
} as const;
const version1 = 1n << 32n;

/** A structure of a device as a vendor capability describes it. */
interface Structure {
  readonly address: number;
  readonly length: number;
  readonly capability: number;
}

/** A driver of a virtio device on the PCI bus, as little of one as tests need: it finds what it uses in configuration space. */
export class VirtioPciDriver {
  readonly #bus: Bus;
  readonly #slot: number;
  /** By type (virtio 1.2 §4.1.4). */
  readonly structures = new Map<number, Structure>();
  /** Where the MSI-X capability is; undefined if there is none. */
  messageCapability: number | undefined;

  constructor(bus: Bus, slot: number) {
    this.#bus = bus;
    this.#slot = slot;
    for (let at = this.configuration(0x34, 1); at !== 0; at = this.configuration(at + 1, 1)) {
      const id = this.configuration(at, 1);
      if (id === 0x11) this.messageCapability = at;
      if (id !== 0x09) continue;
      const address = this.bar(this.configuration(at + 4, 1)) + this.configuration(at + 8, 4);
      this.structures.set(this.configuration(at + 3, 1), {
        address,
        length: this.configuration(at + 12, 4),
        capability: at,
      });
    }
  }

  configuration(register: number, size: AccessSize): number {
    this.#bus.ports.write(0xcf8, 4, 0x8000_0000 + (this.#slot << 11) + (register & 0xfc));
    const value = this.#bus.ports.read(0xcfc + (register & 3), size);
    this.#bus.ports.write(0xcf8, 4, 0);
    return value;
  }

  configure(register: number, size: AccessSize, value: number): void {
    this.#bus.ports.write(0xcf8, 4, 0x8000_0000 + (this.#slot << 11) + (register & 0xfc));
    this.#bus.ports.write(0xcfc + (register & 3), size, value);
    this.#bus.ports.write(0xcf8, 4, 0);
  }

  bar(index: number): number {
    return (this.configuration(0x10 + 4 * index, 4) & ~0xf) >>> 0;
  }

  read(type: number, offset: number, size: AccessSize): number {
    return this.#bus.mmio.read((this.structures.get(type)?.address ?? 0) + offset, size);
  }

  write(type: number, offset: number, size: AccessSize, value: number): void {
    this.#bus.mmio.write((this.structures.get(type)?.address ?? 0) + offset, size, value);
  }

  get status(): number {
    return this.read(1, common.status, 1);
  }

  set status(value: number) {
    this.write(1, common.status, 1, value);
  }

  get offered(): bigint {
    const word = (select: number): bigint => {
      this.write(1, common.deviceFeatureSelect, 4, select);
      return BigInt(this.read(1, common.deviceFeature, 4));
    };
    return word(0) | (word(1) << 32n);
  }

  /** Resets the device and agrees on features. @returns whether the device has taken them */
  negotiate(features: bigint): boolean {
    this.configure(0x04, 2, 0x0006);
    this.status = 0;
    this.status = status.acknowledge;
    this.status = status.acknowledge | status.driver;
    const wanted = features | version1;
    for (const select of [0, 1]) {
      this.write(1, common.driverFeatureSelect, 4, select);
      this.write(1, common.driverFeature, 4, Number((wanted >> BigInt(32 * select)) & 0xffff_ffffn));
    }
    this.status = status.acknowledge | status.driver | status.featuresOk;
    return (this.status & status.featuresOk) !== 0;
  }

  /** Enables MSI-X, with a message of its own for each vector: vector 0x40 + index. */
  enableMessages(vectors: number): void {
    const at = this.messageCapability ?? 0;
    const { table } = this.messageRange();
    for (let index = 0; index < vectors; index++) {
      this.#bus.mmio.write(table + 16 * index, 4, 0xfee0_0000);
      this.#bus.mmio.write(table + 16 * index + 8, 4, 0x40 + index);
      this.#bus.mmio.write(table + 16 * index + 12, 4, 0);
    }
    this.configure(at + 2, 2, 0x8000);
  }

  /** Where the MSI-X table and the pending bits are. */
  messageRange(): { table: number; pending: number } {
    const at = this.messageCapability ?? 0;
    const place = (word: number): number => this.bar(word & 7) + (word & ~7);
    return { table: place(this.configuration(at + 4, 4)), pending: place(this.configuration(at + 8, 4)) };
  }

  setConfigurationVector(vector: number): number {
    this.write(1, common.configurationVector, 2, vector);
    return this.read(1, common.configurationVector, 2);
  }

  setUpQueue(index: number, queue: DriverQueue, vector = 0xffff): void {
    this.write(1, common.queueSelect, 2, index);
    this.write(1, common.queueSize, 2, queue.size);
    this.write(1, common.queueVector, 2, vector);
    for (const [position, address] of [queue.descriptorTable, queue.availableRing, queue.usedRing].entries()) {
      this.write(1, common.descriptorTable + 8 * position, 4, address);
      this.write(1, common.descriptorTable + 8 * position + 4, 4, 0);
    }
    this.write(1, common.queueEnable, 2, 1);
  }

  ready(): void {
    this.status = this.status | status.driverOk;
  }

  notify(index: number): void {
    this.write(1, common.queueSelect, 2, index);
    const offset = this.read(1, common.notifyOffset, 2);
    const multiplier = this.configuration((this.structures.get(2)?.capability ?? 0) + 16, 4);
    this.write(2, offset * multiplier, 2, index);
  }
}
