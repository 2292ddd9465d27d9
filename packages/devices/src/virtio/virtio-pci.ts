import {
  type AccessSize,
  array,
  type Balloon,
  type Device,
  type DeviceCheckpoint,
  type DeviceContext,
  defineState,
  type FieldType,
  type HostFile,
  type PciBus,
  type PciCapability,
  type PciFunction,
  type StateOf,
  struct,
  u8,
  u16,
  u32,
  u64,
} from "@cpr/core";
import { deviceErrors } from "../errors.ts";
import { Properties } from "../properties.ts";
import type { VirtioDevice, VirtioTransport } from "./virtio-device.ts";
import {
  area,
  areaSize,
  barIndex,
  capabilityType,
  commonField,
  deviceStatus,
  feature,
  identity,
  interruptStatus,
  messageBar,
  notifyMultiplier,
  noVector,
  vendorCapability,
} from "./virtio-pci-registers.ts";
import { Virtqueue, type VirtqueueState, virtqueueState } from "./virtqueue.ts";

/** What a kind of virtio device is on the PCI bus. */
export interface VirtioPciOptions {
  /** Name of the device model; it names the schema of the state too. */
  readonly name: string;
  /** The PCI class code, 24 bits (PCI 3.0 appendix D). */
  readonly deviceClass: number;
  /** How many MSI-X vectors there are by default; one for each queue and one more if undefined. */
  readonly vectors?: number;
}

/** The properties that every virtio device on the PCI bus has, and what they take. */
export const virtioPciProperties = {
  vectors: "number of MSI-X vectors; 0: the device has no MSI-X; default: one for each queue and one more",
} as const;

const commonState = defineState("virtio-pci/common", 1, {
  status: u8,
  deviceFeatureSelect: u32,
  driverFeatureSelect: u32,
  driverFeatures: u64,
  queueSelect: u16,
  configurationVector: u16,
  generation: u8,
  interruptStatus: u8,
});

const queueState = defineState("virtio-pci/queue", 1, { ring: struct(virtqueueState), vector: u16 });

interface PciQueue {
  readonly ring: Virtqueue;
  vector: number;
}

interface VirtioPciState {
  readonly function: Readonly<Record<string, unknown>>;
  readonly common: StateOf<typeof commonState>;
  readonly queues: readonly StateOf<typeof queueState>[];
  readonly device?: Readonly<Record<string, unknown>>;
}

const wordBits = 32n;
const wordMask = 0xffff_ffffn;
/** Feature bits of the queues and of this transport. */
const ownFeatures = feature.version1 | feature.indirectDescriptors | feature.eventIndex;

/**
 * Puts a virtio device on the PCI bus: a modern device (virtio 1.2 §4.1), without the legacy interface. Properties: `bus`, the
 * PCI bus; `addr`, the slot; `vectors`.
 *
 * @param make makes the device itself, which may keep the transport
 * @throws {CprError} if a property is wrong or there is no slot
 */
export function virtioPciDevice(
  context: DeviceContext,
  make: (transport: VirtioTransport) => VirtioDevice,
  options: VirtioPciOptions,
): Device {
  return new VirtioPci(context, make, options);
}

class VirtioPci implements Device {
  readonly id: string;
  readonly checkpoint: DeviceCheckpoint;
  readonly hostFiles?: readonly HostFile[];
  readonly buses?: Readonly<Record<string, unknown>>;
  readonly balloon?: Balloon;
  readonly #context: DeviceContext;
  readonly #device: VirtioDevice;
  readonly #function: PciFunction;
  readonly #queues: readonly PciQueue[];
  readonly #vectors: number;
  readonly #offered: bigint;
  readonly #configuration: DataView;
  #common: StateOf<typeof commonState> = initialCommon();
  /** Between DRIVER_OK and the next reset: the device knows its driver. */
  #started = false;
  #paused = false;
  /** A reset by the driver that waits for requests to end. */
  #resetting: Promise<void> | undefined;

  constructor(context: DeviceContext, make: (transport: VirtioTransport) => VirtioDevice, options: VirtioPciOptions) {
    const properties = new Properties(context);
    this.#context = context;
    this.id = context.id;
    const device = make({
      configurationChanged: () => this.#configurationChanged(),
      needsReset: (reason) => this.#needsReset(reason),
    });
    this.#device = device;
    if (device.hostFiles !== undefined) this.hostFiles = device.hostFiles;
    if (device.buses !== undefined) this.buses = device.buses;
    if (device.balloon !== undefined) this.balloon = device.balloon;
    this.#offered = device.features | ownFeatures;
    const { buffer, byteOffset, byteLength } = device.configuration;
    this.#configuration = new DataView(buffer, byteOffset, byteLength);
    this.#queues = device.queueSizes.map((maximumSize, index) => ({
      ring: new Virtqueue({
        memory: context.memory,
        maximumSize,
        interrupt: () => this.#interrupt((this.#queues[index] as PciQueue).vector, interruptStatus.queue),
        again: () => setImmediate(() => this.#notify(index)),
        fail: (reason) => this.#needsReset(`queue ${index}: ${reason}`),
      }),
      vector: noVector,
    }));
    this.#vectors = properties.integer("vectors", 2048, options.vectors ?? device.queueSizes.length + 1);
    const { addr } = context.properties;
    this.#function = properties.part<PciBus>("bus", "plug").plug(
      context.id,
      {
        ...identity,
        deviceId: identity.firstDeviceId + device.deviceId,
        classCode: options.deviceClass,
        bars: [
          {
            index: barIndex,
            size: areaSize * 4,
            handler: {
              read: (offset, size) => this.#read(offset, size),
              write: (offset, size, value) => this.#write(offset, size, value),
              // virtio 1.2 §4.1.4.4: that there is a write is what counts, as the queue's index is in its place.
              doorbells: this.#queues.map((_, index) => area.notification * areaSize + index * notifyMultiplier),
            },
          },
        ],
        capabilities: this.#capabilities(),
        interruptPin: true,
        busMasterChanged: () => this.#followBusMaster(),
        ...(this.#vectors === 0 ? {} : { messages: { vectors: this.#vectors, bar: messageBar } }),
      },
      addr === undefined ? undefined : String(addr),
    );
    this.#followBusMaster();
    this.checkpoint = this.#makeCheckpoint(options.name);
  }

  reset(): void {
    this.#function.reset();
    this.#resetDevice();
  }

  async pause(): Promise<void> {
    this.#paused = true;
    await this.#resetting;
    await this.#device.pause?.();
  }

  resume(): void {
    this.#paused = false;
    this.#device.resume?.();
    this.#notifyAll();
  }

  close(): void {
    this.#paused = true;
    this.#device.close?.();
  }

  /** Whether the device takes what the driver puts in its queues. */
  get #working(): boolean {
    return this.#started && this.#resetting === undefined && (this.#common.status & deviceStatus.needsReset) === 0;
  }

  #notify(index: number): void {
    if (this.#working && !this.#paused && this.#queues[index]?.ring.enabled === true) this.#device.notify(index);
  }

  #notifyAll(): void {
    for (const index of this.#queues.keys()) this.#notify(index);
  }

  /** A device that may not access RAM takes no more requests: the guest's next kernel may have other uses for their buffers. */
  #followBusMaster(): void {
    const { busMaster } = this.#function;
    for (const { ring } of this.#queues) ring.suspended = !busMaster;
    if (busMaster) this.#notifyAll();
  }

  // -- What the guest reads and writes ----------------------------------------------------------------------------------

  #read(offset: number, size: AccessSize): number {
    const within = offset % areaSize;
    switch (Math.floor(offset / areaSize)) {
      case area.common:
        return size === 4
          ? this.#commonWord(within & ~3)
          : (this.#commonWord(within & ~3) >>> (8 * (within & 3))) & (2 ** (8 * size) - 1);
      case area.interruptStatus:
        return within === 0 ? this.#takeInterruptStatus() : 0;
      case area.configuration:
        return readLittleEndian(this.#configuration, within, size);
      default:
        return 0;
    }
  }

  #write(offset: number, size: AccessSize, value: number): void {
    const within = offset % areaSize;
    switch (Math.floor(offset / areaSize)) {
      case area.notification:
        this.#notify(within / notifyMultiplier);
        return;
      case area.common:
        this.#writeCommon(within, size, value);
        return;
      case area.configuration:
        if (within + size <= this.#configuration.byteLength) {
          this.#device.writeConfiguration?.(within, size, value);
        }
    }
  }

  /** An aligned double word of the common configuration structure (virtio 1.2 §4.1.4.3). */
  #commonWord(offset: number): number {
    const common = this.#common;
    const queue = this.#queues[common.queueSelect];
    const ring = queue?.ring;
    const half = (address: bigint | undefined, high: boolean): number =>
      Number(((address ?? 0n) >> (high ? wordBits : 0n)) & wordMask);
    switch (offset) {
      case 0x00:
        return common.deviceFeatureSelect;
      case 0x04:
        return featureWord(this.#offered, common.deviceFeatureSelect);
      case 0x08:
        return common.driverFeatureSelect;
      case 0x0c:
        return featureWord(common.driverFeatures, common.driverFeatureSelect);
      case 0x10:
        return pair(common.configurationVector, this.#queues.length);
      case 0x14:
        return pair(common.status | (common.generation << 8), common.queueSelect);
      case 0x18:
        return pair(ring?.size ?? 0, queue?.vector ?? noVector);
      case 0x1c:
        return pair(ring?.enabled === true ? 1 : 0, queue === undefined ? 0 : common.queueSelect);
      case 0x20:
      case 0x24:
        return half(ring?.descriptorTable, offset === 0x24);
      case 0x28:
      case 0x2c:
        return half(ring?.availableRing, offset === 0x2c);
      case 0x30:
      case 0x34:
        return half(ring?.usedRing, offset === 0x34);
      default:
        return 0;
    }
  }

  /** A driver writes each field in its own width, those of 64 bits in halves (virtio 1.2 §4.1.3.1): anything else has no effect. */
  #writeCommon(offset: number, size: AccessSize, value: number): void {
    const common = this.#common;
    if (commonField[offset] !== size) return;
    switch (offset) {
      case 0x00:
        common.deviceFeatureSelect = value;
        return;
      case 0x08:
        common.driverFeatureSelect = value;
        return;
      case 0x0c:
        this.#writeFeatures(value);
        return;
      case 0x10:
        common.configurationVector = this.#vectorOf(value);
        return;
      case 0x14:
        this.#writeStatus(value);
        return;
      case 0x16:
        common.queueSelect = value;
        return;
      default:
        this.#writeQueue(this.#queues[common.queueSelect], offset, value);
    }
  }

  #writeFeatures(value: number): void {
    const common = this.#common;
    if ((common.status & deviceStatus.featuresOk) !== 0 || common.driverFeatureSelect > 1) return;
    const shift = common.driverFeatureSelect === 1 ? wordBits : 0n;
    common.driverFeatures = (common.driverFeatures & ~(wordMask << shift)) | (BigInt(value) << shift);
  }

  #writeStatus(value: number): void {
    const common = this.#common;
    if (this.#resetting !== undefined) return;
    if (value === 0) {
      this.#resetByDriver();
      return;
    }
    // Only a reset clears a bit (virtio 1.2 §2.1.1).
    let next = common.status | (value & ~deviceStatus.needsReset);
    const negotiating = (common.status & deviceStatus.featuresOk) === 0;
    if (negotiating && !this.#accepts(common.driverFeatures)) next &= ~deviceStatus.featuresOk;
    if ((next & deviceStatus.featuresOk) === 0) next &= ~deviceStatus.driverOk;
    common.status = next;
    if ((next & deviceStatus.driverOk) !== 0 && !this.#started) this.#start();
  }

  #writeQueue(queue: PciQueue | undefined, offset: number, value: number): void {
    if (queue === undefined) return;
    const { ring } = queue;
    if (offset === 0x1a) {
      queue.vector = this.#vectorOf(value);
      return;
    }
    if (ring.enabled || this.#resetting !== undefined) return;
    const word = BigInt(value);
    switch (offset) {
      case 0x18:
        if (value !== 0 && value <= ring.maximumSize && (value & (value - 1)) === 0) ring.size = value;
        return;
      case 0x1c:
        if (value === 1) ring.enable();
        return;
      case 0x20:
      case 0x24:
        ring.descriptorTable = withHalf(ring.descriptorTable, word, offset === 0x24);
        return;
      case 0x28:
      case 0x2c:
        ring.availableRing = withHalf(ring.availableRing, word, offset === 0x2c);
        return;
      case 0x30:
      case 0x34:
        ring.usedRing = withHalf(ring.usedRing, word, offset === 0x34);
    }
  }

  // -- The life of the device -------------------------------------------------------------------------------------------

  /** Whether a driver may use the device with these features: with VERSION_1, and with none that was not offered. */
  #accepts(features: bigint): boolean {
    return (features & ~this.#offered) === 0n && (features & feature.version1) !== 0n;
  }

  #start(): void {
    const features = this.#common.driverFeatures;
    const queues = this.#queues.map(({ ring }) => ring);
    for (const ring of queues) {
      ring.eventIndex = (features & feature.eventIndex) !== 0n;
      ring.indirect = (features & feature.indirectDescriptors) !== 0n;
    }
    this.#started = true;
    this.#device.start({ features, queues });
  }

  #resetByDriver(): void {
    if (!this.#started || this.#device.pause === undefined) {
      this.#resetDevice();
      return;
    }
    // The status is not 0 before the requests under way have ended (virtio 1.2 §4.1.4.3.1).
    const resetting = this.#device.pause().then(() => {
      if (this.#resetting !== resetting) return;
      this.#resetDevice();
      if (!this.#paused) this.#device.resume?.();
    });
    this.#resetting = resetting;
  }

  #resetDevice(): void {
    this.#started = false;
    this.#resetting = undefined;
    this.#common = initialCommon();
    for (const queue of this.#queues) {
      queue.ring.reset();
      queue.vector = noVector;
    }
    this.#function.setInterrupt(false);
    this.#device.reset();
  }

  #needsReset(reason: string): void {
    if ((this.#common.status & deviceStatus.needsReset) !== 0) return;
    this.#context.needsReset(reason);
    this.#common.status |= deviceStatus.needsReset;
    if (this.#started) this.#configurationChanged();
  }

  #configurationChanged(): void {
    this.#common.generation = (this.#common.generation + 1) & 0xff;
    if (this.#started) this.#interrupt(this.#common.configurationVector, interruptStatus.configuration);
  }

  #interrupt(vector: number, reason: number): void {
    if (this.#function.messagesEnabled) {
      if (vector !== noVector) this.#function.sendMessage(vector);
      return;
    }
    this.#common.interruptStatus |= reason;
    this.#function.setInterrupt(true);
  }

  /** Reading the interrupt status clears it (virtio 1.2 §4.1.4.5). */
  #takeInterruptStatus(): number {
    const reasons = this.#common.interruptStatus;
    this.#common.interruptStatus = 0;
    this.#function.setInterrupt(false);
    return reasons;
  }

  #vectorOf(value: number): number {
    return value < this.#vectors ? value : noVector;
  }

  /** The vendor's capabilities, which say where the structures are (virtio 1.2 §4.1.4). */
  #capabilities(): readonly PciCapability[] {
    const structure = (type: number, index: number, length: number, more = 0): PciCapability => {
      const contents = new Uint8Array(vendorCapability.size + more);
      const view = new DataView(contents.buffer);
      view.setUint8(vendorCapability.length, 2 + contents.length);
      view.setUint8(vendorCapability.type, type);
      view.setUint8(vendorCapability.bar, barIndex);
      view.setUint32(vendorCapability.offset, index * areaSize, true);
      view.setUint32(vendorCapability.structureLength, length, true);
      return { id: vendorCapability.id, contents };
    };
    const notification = structure(capabilityType.notification, area.notification, areaSize, 4);
    new DataView(notification.contents.buffer).setUint32(vendorCapability.size, notifyMultiplier, true);
    const access = structure(capabilityType.access, 0, 0);
    access.contents[vendorCapability.length] = 2 + vendorCapability.size + 4;
    const writable = new Uint8Array(vendorCapability.size).fill(0xff, vendorCapability.offset);
    writable[vendorCapability.bar] = 0xff;
    const length = this.#configuration.byteLength;
    return [
      structure(capabilityType.common, area.common, 0x40),
      structure(capabilityType.interruptStatus, area.interruptStatus, 1),
      ...(length === 0 ? [] : [structure(capabilityType.configuration, area.configuration, length)]),
      notification,
      {
        ...access,
        writable,
        data: {
          read: (contents, size) => {
            const offset = accessOffset(contents, size);
            return offset === undefined ? 0 : this.#read(offset, size);
          },
          write: (contents, size, value) => {
            const offset = accessOffset(contents, size);
            if (offset !== undefined) this.#write(offset, size, value);
          },
        },
      },
    ];
  }

  // -- The state --------------------------------------------------------------------------------------------------------

  #makeCheckpoint(name: string): DeviceCheckpoint {
    const own = this.#device.checkpoint;
    const fields: Record<string, FieldType<unknown>> = {
      function: struct(this.#function.state.schema) as FieldType<unknown>,
      common: struct(commonState) as FieldType<unknown>,
      queues: array(struct(queueState), this.#queues.length) as FieldType<unknown>,
    };
    if (own.kind === "state") fields.device = struct(own.schema) as FieldType<unknown>;
    return {
      kind: "state",
      schema: defineState(name, 1, fields),
      save: () => ({
        function: this.#function.state.save(),
        common: { ...this.#common },
        queues: this.#queues.map(({ ring, vector }) => ({ ring: ring.save(), vector })),
        ...(own.kind === "state" ? { device: own.save() } : {}),
      }),
      restore: (state) => this.#restore(state as unknown as VirtioPciState),
    };
  }

  #restore(state: VirtioPciState): void {
    const reason = this.#problemOf(state);
    if (reason !== undefined) throw deviceErrors.ERR_CPR_DEVICE_STATE({ device: this.id, reason });
    const { checkpoint } = this.#device;
    if (checkpoint.kind === "state") checkpoint.restore(state.device ?? {});
    this.#function.state.restore(state.function);
    this.#common = { ...state.common };
    for (const [index, queue] of this.#queues.entries()) {
      const { ring, vector } = state.queues[index] as { ring: VirtqueueState; vector: number };
      queue.ring.restore(ring);
      queue.vector = vector;
    }
    this.#function.setInterrupt(this.#common.interruptStatus !== 0);
    if ((this.#common.status & deviceStatus.driverOk) !== 0) this.#start();
  }

  /** What a schema cannot say. */
  #problemOf({ function: slot, common, queues }: VirtioPciState): string | undefined {
    const { status } = common;
    const isVector = (vector: number): boolean => vector === noVector || vector < this.#vectors;
    const ready = (status & deviceStatus.featuresOk) !== 0;
    if (!ready && (status & deviceStatus.driverOk) !== 0) return "a driver without features";
    if (ready && !this.#accepts(common.driverFeatures)) {
      return this.#device.featureProblem?.(common.driverFeatures) ?? "features that the device does not have";
    }
    if ((common.interruptStatus & ~(interruptStatus.queue | interruptStatus.configuration)) !== 0) {
      return "reserved bits of the interrupt status are set";
    }
    if (![common.configurationVector, ...queues.map(({ vector }) => vector)].every(isVector)) {
      return "an interrupt vector that the device does not have";
    }
    for (const [index, queue] of this.#queues.entries()) {
      const problem = queue.ring.problemOf(queues[index]?.ring as VirtqueueState);
      if (problem !== undefined) return `${problem} (queue ${index})`;
    }
    return this.#function.state.problemOf(slot);
  }
}

function initialCommon(): StateOf<typeof commonState> {
  return {
    status: 0,
    deviceFeatureSelect: 0,
    driverFeatureSelect: 0,
    driverFeatures: 0n,
    queueSelect: 0,
    configurationVector: noVector,
    generation: 0,
    interruptStatus: 0,
  };
}

/** Two fields of 16 bits in a double word. */
function pair(low: number, high: number): number {
  return high * 0x1_0000 + low;
}

function featureWord(features: bigint, select: number): number {
  return select > 3 ? 0 : Number((features >> (BigInt(select) * wordBits)) & wordMask);
}

function withHalf(address: bigint, word: bigint, high: boolean): bigint {
  return high ? (address & wordMask) | (word << wordBits) : (address & ~wordMask) | word;
}

function readLittleEndian(view: DataView, offset: number, size: AccessSize): number {
  if (offset + size > view.byteLength) return 0;
  if (size === 1) return view.getUint8(offset);
  return size === 2 ? view.getUint16(offset, true) : view.getUint32(offset, true);
}

/** Where in the range the driver wants to read or write through configuration space (virtio 1.2 §4.1.4.9); undefined: nowhere. */
function accessOffset(contents: DataView, size: AccessSize): number | undefined {
  const offset = contents.getUint32(vendorCapability.offset, true);
  const length = contents.getUint32(vendorCapability.structureLength, true);
  const valid = contents.getUint8(vendorCapability.bar) === barIndex && length === size && offset % size === 0;
  return valid && offset + size <= areaSize * 4 ? offset : undefined;
}
