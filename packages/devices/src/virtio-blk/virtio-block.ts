import type { BlockDevice, HostFile } from "@cpr/core";
import { deviceErrors } from "../errors.ts";
import type { VirtioCheckpoint, VirtioDevice, VirtioDriver, VirtioTransport } from "../virtio/virtio-device.ts";
import type { DescriptorChain, Virtqueue } from "../virtio/virtqueue.ts";
import { type BlockRequest, copyOf, lengthOf, readBlockRequest } from "./block-request.ts";
import {
  blockConfigurationSize,
  blockDeviceId,
  blockFeature,
  blockField,
  identifierSize,
  requestStatus,
  requestType,
  sectorSize,
  segmentFlag,
  segmentSize,
} from "./registers.ts";
import { type VirtioBlockState, virtioBlockState } from "./state.ts";

/** As many requests can be under way. */
const queueSize = 256;
/** Sectors that one request discards or zeroes at most: a little less than 2 GiB. */
const maximumRange = 0x3f_ffff;

/** What a {@link VirtioBlock} is made from. */
export interface VirtioBlockOptions {
  readonly id: string;
  readonly disk: BlockDevice;
  /** What the driver gets as the disk's identifier, up to 20 bytes of it. */
  readonly serial: string;
  /** The disk has a write cache, unless the driver switches it off. */
  readonly writeCache: boolean;
}

/**
 * A virtio block device (virtio 1.2 §5.2) with one queue. Any number of requests is carried out at the same time, and each is
 * given back when the disk has done it; the driver is told of those together that are done at about the same time. An error of the host is one
 * of the disk (VIRTIO_BLK_S_IOERR) to the guest.
 *
 * Without the feature FLUSH, and where the driver or the user has switched the write cache off, a write is durable before it is
 * given back (§5.2.6.2).
 */
export class VirtioBlock implements VirtioDevice {
  readonly deviceId = blockDeviceId;
  readonly queueSizes = [queueSize];
  readonly features: bigint;
  readonly configuration = new Uint8Array(blockConfigurationSize);
  readonly checkpoint: VirtioCheckpoint;
  readonly hostFiles: readonly HostFile[];
  readonly #options: VirtioBlockOptions;
  readonly #transport: VirtioTransport;
  readonly #disk: BlockDevice;
  readonly #capacity: number;
  #driver: VirtioDriver | undefined;
  #inFlight = 0;
  /** Whoever waits until nothing is under way. */
  #drained: (() => void)[] = [];
  /** The driver will be told of what was given back. */
  #telling: NodeJS.Immediate | undefined;

  constructor(options: VirtioBlockOptions, transport: VirtioTransport) {
    const { disk } = options;
    this.#options = options;
    this.#transport = transport;
    this.#disk = disk;
    this.#capacity = Math.floor(disk.size / sectorSize);
    this.hostFiles = disk.hostFile === undefined ? [] : [disk.hostFile];
    const { maximumSegments, blockSize, flush, writeCache, readOnly, discard, writeZeroes } = blockFeature;
    this.features =
      maximumSegments | blockSize | flush | writeCache | (disk.readOnly ? readOnly : discard | writeZeroes);
    const view = new DataView(this.configuration.buffer);
    const blockSectors = disk.logicalBlockSize / sectorSize;
    view.setBigUint64(blockField.capacity, BigInt(this.#capacity), true);
    // With the header and the status a chain is as long as the queue.
    view.setUint32(blockField.maximumSegments, queueSize - 2, true);
    view.setUint32(blockField.blockSize, disk.logicalBlockSize, true);
    view.setUint8(blockField.writeback, Number(options.writeCache));
    if (!disk.readOnly) {
      const range = maximumRange - (maximumRange % blockSectors);
      view.setUint32(blockField.maximumDiscardSectors, range, true);
      view.setUint32(blockField.maximumDiscardSegments, 1, true);
      view.setUint32(blockField.discardAlignment, blockSectors, true);
      view.setUint32(blockField.maximumZeroSectors, range, true);
      view.setUint32(blockField.maximumZeroSegments, 1, true);
      view.setUint8(blockField.zeroesMayUnmap, 1);
    }
    this.checkpoint = {
      kind: "state",
      schema: virtioBlockState,
      save: () => this.#save(),
      restore: (state) => this.#restore(state as VirtioBlockState),
    };
  }

  start(driver: VirtioDriver): void {
    this.#driver = driver;
  }

  writeConfiguration(offset: number, size: 1 | 2 | 4, value: number): void {
    const agreed = ((this.#driver?.features ?? 0n) & blockFeature.writeCache) !== 0n;
    if (agreed && offset === blockField.writeback && size === 1) this.configuration[offset] = value & 1;
  }

  notify(): void {
    const queue = this.#driver?.queues[0];
    queue?.process((chain) => this.#begin(queue, chain));
  }

  reset(): void {
    this.#driver = undefined;
    this.configuration[blockField.writeback] = Number(this.#options.writeCache);
  }

  async pause(): Promise<void> {
    if (this.#inFlight > 0) {
      await new Promise<void>((resolve) => {
        this.#drained.push(resolve);
      });
    }
    this.#tell();
  }

  #begin(queue: Virtqueue, chain: DescriptorChain): void {
    const request = readBlockRequest(chain);
    if (request === undefined) {
      queue.push(chain, 0);
      this.#transport.needsReset("a request without a header or without room for its status");
      return;
    }
    this.#inFlight += 1;
    const finish = (status: number): void => {
      request.status[0] = status;
      queue.push(chain, status === requestStatus.ok ? lengthOf(chain.writable) : 0);
      this.#inFlight -= 1;
      this.#telling ??= setImmediate(() => this.#tell());
      if (this.#inFlight === 0) for (const resolve of this.#drained.splice(0)) resolve();
    };
    this.#carryOut(request).then(finish, () => finish(requestStatus.ioError));
  }

  /** Tells the driver of all that was given back. */
  #tell(): void {
    clearImmediate(this.#telling);
    this.#telling = undefined;
    this.#driver?.queues[0]?.tell();
  }

  /** @returns the status. A rejection is an error of the disk. */
  async #carryOut({ type, sector, given, answer }: BlockRequest): Promise<number> {
    const disk = this.#disk;
    switch (type) {
      case requestType.read:
        if (!this.#isInside(sector, lengthOf(answer))) return requestStatus.ioError;
        await disk.read(sector * sectorSize, answer);
        return requestStatus.ok;
      case requestType.write:
        if (disk.readOnly || !this.#isInside(sector, lengthOf(given))) return requestStatus.ioError;
        await disk.write(sector * sectorSize, given);
        await this.#writeThrough();
        return requestStatus.ok;
      case requestType.flush:
        await disk.flush();
        return requestStatus.ok;
      case requestType.identify:
        this.#identify(answer);
        return requestStatus.ok;
      case requestType.discard:
      case requestType.writeZeroes:
        return disk.readOnly ? requestStatus.ioError : this.#clear(type, given);
      default:
        return requestStatus.unsupported;
    }
  }

  /** Discards or zeroes a range (virtio 1.2 §5.2.6.2). */
  async #clear(type: number, given: readonly Uint8Array[]): Promise<number> {
    // One range at most, as the configuration says.
    if (lengthOf(given) !== segmentSize) return requestStatus.unsupported;
    const segment = copyOf(given, segmentSize);
    const sector = segment.getUint32(0, true) + segment.getUint32(4, true) * 2 ** 32;
    const length = segment.getUint32(8, true) * sectorSize;
    const flags = segment.getUint32(12, true);
    const allowed = type === requestType.writeZeroes ? segmentFlag.unmap : 0;
    if ((flags & ~allowed) !== 0) return requestStatus.unsupported;
    if (length > maximumRange * sectorSize || !this.#isInside(sector, length)) return requestStatus.ioError;
    if (type === requestType.discard) {
      await this.#disk.discard(sector * sectorSize, length);
    } else {
      await this.#disk.writeZeroes(sector * sectorSize, length, (flags & segmentFlag.unmap) !== 0);
      await this.#writeThrough();
    }
    return requestStatus.ok;
  }

  #identify(answer: readonly Uint8Array[]): void {
    const identifier = Buffer.alloc(identifierSize);
    identifier.write(this.#options.serial);
    let at = 0;
    for (const buffer of answer) {
      buffer.set(identifier.subarray(at, at + buffer.length));
      at += buffer.length;
    }
  }

  /** Makes what was written durable if nobody will ask for it later. */
  async #writeThrough(): Promise<void> {
    const features = this.#driver?.features ?? 0n;
    const asks = (features & (blockFeature.flush | blockFeature.writeCache)) !== 0n;
    if (!asks || this.configuration[blockField.writeback] === 0) await this.#disk.flush();
  }

  /** Whether a range consists of blocks of the disk. */
  #isInside(sector: number, length: number): boolean {
    const block = this.#disk.logicalBlockSize;
    return (
      sector + length / sectorSize <= this.#capacity && length % block === 0 && (sector * sectorSize) % block === 0
    );
  }

  #save(): VirtioBlockState {
    return {
      capacity: BigInt(this.#capacity),
      blockSize: this.#disk.logicalBlockSize,
      readOnly: this.#disk.readOnly,
      writeback: this.configuration[blockField.writeback] === 1,
    };
  }

  #restore({ capacity, blockSize, readOnly, writeback }: VirtioBlockState): void {
    const disk = this.#disk;
    const differences = [
      ...(capacity === BigInt(this.#capacity) ? [] : [`had ${capacity} sectors and has ${this.#capacity}`]),
      ...(blockSize === disk.logicalBlockSize
        ? []
        : [`had blocks of ${blockSize} bytes, not ${disk.logicalBlockSize}`]),
      ...(readOnly === disk.readOnly ? [] : [`was ${readOnly ? "" : "not "}read-only`]),
    ];
    if (differences.length > 0) {
      throw deviceErrors.ERR_CPR_DISK_DIFFERS({ device: this.#options.id, path: disk.path, differences });
    }
    this.configuration[blockField.writeback] = Number(writeback);
  }
}
