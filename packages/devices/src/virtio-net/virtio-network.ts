import { largestFrame, type NetworkCard, type NetworkLink, networkHeaderSize } from "@cpr/core";
import { deviceErrors } from "../errors.ts";
import type { VirtioCheckpoint, VirtioDevice, VirtioDriver, VirtioTransport } from "../virtio/virtio-device.ts";
import type { DescriptorChain, Virtqueue } from "../virtio/virtqueue.ts";
import { Announcement, reverseRequest } from "./announcement.ts";
import { isGroup, macSize } from "./mac-address.ts";
import { isImpossible, ReceiveFilter } from "./receive-filter.ts";
import {
  answer,
  bufferCountOffset,
  configurationField,
  control,
  networkFeature,
  networkStatus,
  queueIndex,
} from "./registers.ts";
import { type VirtioNetworkState, virtioNetworkState } from "./state.ts";

const queueSize = 256;
const controlQueueSize = 64;
/** How many frames are sent before others have their turn: a driver may go on for ever. */
const framesPerTurn = 256;
/** No command of the control queue is longer. */
const longestCommand = 65_536;

/** Features that need a network with offloads (virtio 1.2 §5.1.3.1). */
const offloadFeatures =
  networkFeature.checksum |
  networkFeature.guestChecksum |
  networkFeature.guestTso4 |
  networkFeature.guestTso6 |
  networkFeature.guestEcn |
  networkFeature.hostTso4 |
  networkFeature.hostTso6 |
  networkFeature.hostEcn;

/** What a network card is made from. */
export interface VirtioNetworkOptions {
  readonly id: string;
  readonly link: NetworkLink;
  readonly mac: Uint8Array;
  /** The largest packet, as the host advises; undefined: nothing is said. */
  readonly mtu: number | undefined;
}

/** A network card (virtio 1.2 §5.1) with one pair of queues. */
export class VirtioNetwork implements VirtioDevice, NetworkCard {
  readonly deviceId = 1;
  readonly queueSizes = [queueSize, queueSize, controlQueueSize];
  readonly features: bigint;
  readonly configuration = new Uint8Array(configurationField.size);
  readonly checkpoint: VirtioCheckpoint;
  readonly #options: VirtioNetworkOptions;
  readonly #transport: VirtioTransport;
  readonly #link: NetworkLink;
  readonly #view = new DataView(this.configuration.buffer);
  readonly #mac = this.configuration.subarray(configurationField.mac, configurationField.mac + macSize);
  readonly #filter = new ReceiveFilter();
  readonly #header = new Uint8Array(networkHeaderSize);
  readonly #announcement = new Announcement(() => this.#announce());
  /** Bytes that each frame of the link begins with. */
  readonly #linkHeader: number;
  #driver: VirtioDriver | undefined;
  #paused = false;
  #failed = false;
  /** The card has come from a checkpoint and not been announced yet. */
  #moved = false;
  #tellScheduled = false;
  #transmitScheduled = false;

  constructor(options: VirtioNetworkOptions, transport: VirtioTransport) {
    const { link, mac, mtu } = options;
    this.#options = options;
    this.#transport = transport;
    this.#link = link;
    this.#linkHeader = link.supports.offloads ? networkHeaderSize : 0;
    this.features =
      networkFeature.macAddress |
      networkFeature.mergeableBuffers |
      networkFeature.status |
      networkFeature.controlQueue |
      networkFeature.controlReceive |
      networkFeature.announce |
      networkFeature.controlMacAddress |
      (mtu === undefined ? 0n : networkFeature.mtu) |
      (link.supports.offloads ? offloadFeatures : 0n);
    this.#mac.set(mac);
    this.#view.setUint16(configurationField.queuePairs, 1, true);
    this.#view.setUint16(configurationField.mtu, mtu ?? 0, true);
    this.#setStatus(networkStatus.linkUp, link.up);
    this.checkpoint = {
      kind: "state",
      schema: virtioNetworkState,
      save: () => this.#save(),
      restore: (state) => this.#restore(state as VirtioNetworkState),
    };
    link.attach(this);
  }

  featureProblem(features: bigint): string | undefined {
    return (features & offloadFeatures) === 0n || this.#link.supports.offloads
      ? undefined
      : "its driver leaves checksums and segmentation to the network, and this network does neither (-netdev tap does)";
  }

  start(driver: VirtioDriver): void {
    this.#driver = driver;
    this.#failed = false;
    const has = (feature: bigint): boolean => (driver.features & feature) !== 0n;
    this.#link.setOffloads?.({
      checksum: has(networkFeature.guestChecksum),
      tso4: has(networkFeature.guestTso4),
      tso6: has(networkFeature.guestTso6),
      ecn: has(networkFeature.guestEcn),
    });
  }

  notify(queue: number): void {
    if (this.#failed || this.#paused) return;
    if (queue === queueIndex.receive) this.#link.receive();
    else if (queue === queueIndex.transmit) this.#scheduleTransmit();
    else this.#driver?.queues[queueIndex.control]?.process((chain) => this.#obey(chain));
  }

  reset(): void {
    this.#driver = undefined;
    this.#failed = false;
    this.#moved = false;
    this.#announcement.stop();
    this.#filter.reset();
    this.#mac.set(this.#options.mac);
    this.#view.setUint16(configurationField.mtu, this.#options.mtu ?? 0, true);
    this.#setStatus(networkStatus.announce, false);
    this.#setStatus(networkStatus.linkUp, this.#link.up);
    this.#link.setOffloads?.({ checksum: false, tso4: false, tso6: false, ecn: false });
  }

  async pause(): Promise<void> {
    // Chains are given back as soon as they are taken, so none is under way.
    this.#paused = true;
    this.#announcement.stop();
    this.#tell();
  }

  resume(): void {
    this.#paused = false;
    this.linkChanged();
    if (this.#moved) {
      this.#moved = false;
      this.#announcement.start();
    }
  }

  close(): void {
    this.#announcement.stop();
  }

  // -- What the network has to say --------------------------------------------------------------------------------------

  receive(frame: Uint8Array): boolean {
    const queue = this.#driver?.queues[queueIndex.receive];
    if (this.#paused) return false;
    if (queue === undefined || !queue.enabled || this.#failed) return true;
    const length = frame.length - this.#linkHeader;
    if (length < 2 * macSize || !this.#filter.accepts(frame, this.#linkHeader, this.#mac)) return true;
    return this.#deliver(queue, frame);
  }

  sendable(): void {
    this.#transmit();
  }

  linkChanged(): void {
    const { up } = this.#link;
    if (this.#hasStatus(networkStatus.linkUp) === up || this.#paused) return;
    this.#setStatus(networkStatus.linkUp, up);
    if (this.#negotiated(networkFeature.status)) this.#transport.configurationChanged();
  }

  /** Puts a frame into buffers of the driver. @returns false if there are not enough yet */
  #deliver(queue: Virtqueue, frame: Uint8Array): boolean {
    const needed = networkHeaderSize + frame.length - this.#linkHeader;
    const mergeable = this.#negotiated(networkFeature.mergeableBuffers);
    const chains: DescriptorChain[] = [];
    let room = 0;
    while (room < needed) {
      const chain = chains.length === queue.size || (chains.length === 1 && !mergeable) ? undefined : nextChain(queue);
      if (chain === undefined) {
        // All buffers together are too small for it: it is lost. Otherwise there will be more.
        const hopeless = chains.length === queue.size || (chains.length === 1 && !mergeable) || !queue.enabled;
        for (const _ of chains) queue.unpop();
        return hopeless;
      }
      chains.push(chain);
      const size = chain.writable.reduce((sum, { length }) => sum + length, 0);
      if (chain.readable.length > 0 || size === 0) {
        this.#fail("a buffer for frames that cannot be written");
        return true;
      }
      room += size;
    }
    this.#makeHeader(frame, chains.length);
    scatter(queue, chains, [this.#header, frame.subarray(this.#linkHeader)]);
    this.#scheduleTell();
    return true;
  }

  /** The header before a frame for the driver (virtio 1.2 §5.1.6.4.1), which says nothing to one that expects nothing. */
  #makeHeader(frame: Uint8Array, buffers: number): void {
    if (this.#linkHeader > 0 && this.#negotiated(networkFeature.guestChecksum)) {
      this.#header.set(frame.subarray(0, networkHeaderSize));
    } else {
      this.#header.fill(0);
    }
    new DataView(this.#header.buffer).setUint16(bufferCountOffset, buffers, true);
  }

  /** The driver is told once of all the frames that came together. */
  #scheduleTell(): void {
    if (this.#tellScheduled) return;
    this.#tellScheduled = true;
    queueMicrotask(() => this.#tell());
  }

  #tell(): void {
    this.#tellScheduled = false;
    this.#driver?.queues[queueIndex.receive]?.tell();
  }

  // -- What the driver has to say ---------------------------------------------------------------------------------------

  #transmit(): void {
    const queue = this.#driver?.queues[queueIndex.transmit];
    if (queue === undefined || this.#paused || this.#failed) return;
    for (let frames = 0; ; frames += 1) {
      if (frames === framesPerTurn) {
        this.#scheduleTransmit();
        break;
      }
      const chain = nextChain(queue);
      if (chain === undefined) break;
      const sent = this.#sendFrame(chain);
      if (sent === undefined) break;
      if (!sent) {
        queue.unpop();
        break;
      }
      queue.push(chain, 0);
    }
    queue.tell();
  }

  /**
   * Sends what there is when others have had their turn: while the guest goes on it puts more beside the frame that it told of, and
   * all of it costs one interrupt. A guest that waits loses nothing by it.
   */
  #scheduleTransmit(): void {
    if (this.#transmitScheduled) return;
    this.#transmitScheduled = true;
    setImmediate(() => {
      this.#transmitScheduled = false;
      this.#transmit();
    });
  }

  /** @returns whether the network has taken the frame; undefined if it is none */
  #sendFrame({ readable, writable }: DescriptorChain): boolean | undefined {
    const size = readable.reduce((sum, { length }) => sum + length, 0);
    if (size < networkHeaderSize || writable.length > 0) {
      this.#fail("a frame without a header, or with room to write");
      return undefined;
    }
    if (size > largestFrame) return true;
    return this.#link.send(this.#linkHeader > 0 ? readable : withoutBytes(readable, networkHeaderSize));
  }

  /** Does a command of the control queue (virtio 1.2 §5.1.6.5). */
  #obey(chain: DescriptorChain): void {
    const { readable, writable } = chain;
    const size = readable.reduce((sum, { length }) => sum + length, 0);
    const acknowledgement = writable.find(({ length }) => length > 0);
    if (size < 2 || acknowledgement === undefined) {
      this.#fail("a command without a class, or without room for the answer");
      return;
    }
    // The driver may change the bytes while they are read.
    const command = size > longestCommand ? new Uint8Array(2).fill(0xff) : new Uint8Array(Buffer.concat(readable));
    acknowledgement[0] = this.#perform(command[0], command[1], command.subarray(2)) ? answer.ok : answer.error;
    this.#driver?.queues[queueIndex.control]?.push(chain, 1);
  }

  #perform(group: number | undefined, command: number | undefined, data: Uint8Array): boolean {
    switch (group) {
      case control.receive:
        if (data.length !== 1) return false;
        if (command === control.promiscuous) this.#filter.promiscuous = data[0] !== 0;
        else if (command === control.allMulticast) this.#filter.allMulticast = data[0] !== 0;
        else return false;
        return true;
      case control.macAddress:
        if (command === control.setTable) return this.#filter.setTables(data);
        if (command !== control.setAddress || data.length !== macSize || isGroup(data)) return false;
        this.#mac.set(data);
        return true;
      case control.announcement:
        if (command !== control.acknowledge || data.length !== 0) return false;
        this.#setStatus(networkStatus.announce, false);
        return true;
      default:
        return false;
    }
  }

  // -- The life of the card ---------------------------------------------------------------------------------------------

  /** Asks the driver to announce itself (virtio 1.2 §5.1.6.5.4), or does so for it. */
  #announce(): void {
    if (this.#driver === undefined || this.#paused) return;
    if (this.#negotiated(networkFeature.announce | networkFeature.status | networkFeature.controlQueue)) {
      this.#setStatus(networkStatus.announce, true);
      this.#transport.configurationChanged();
    } else {
      this.#link.send([new Uint8Array(this.#linkHeader), reverseRequest(this.#mac)]);
    }
  }

  #save(): VirtioNetworkState {
    return {
      mac: this.#mac.slice(),
      mtu: this.#view.getUint16(configurationField.mtu, true),
      linkUp: this.#hasStatus(networkStatus.linkUp),
      announcing: this.#hasStatus(networkStatus.announce),
      filter: this.#filter.save(),
    };
  }

  #restore({ mac, mtu, linkUp, announcing, filter }: VirtioNetworkState): void {
    const { id } = this.#options;
    if (isImpossible(filter)) {
      throw deviceErrors.ERR_CPR_DEVICE_STATE({ device: id, reason: "more addresses than its tables have room for" });
    }
    if (isGroup(mac)) throw deviceErrors.ERR_CPR_DEVICE_STATE({ device: id, reason: "the address of a group" });
    this.#mac.set(mac);
    this.#view.setUint16(configurationField.mtu, mtu, true);
    this.#filter.restore(filter);
    this.#setStatus(networkStatus.linkUp, linkUp);
    this.#setStatus(networkStatus.announce, announcing);
    this.#moved = true;
  }

  #negotiated(features: bigint): boolean {
    return this.#driver !== undefined && (this.#driver.features & features) === features;
  }

  #hasStatus(bit: number): boolean {
    return (this.#view.getUint16(configurationField.status, true) & bit) !== 0;
  }

  #setStatus(bit: number, on: boolean): void {
    const status = this.#view.getUint16(configurationField.status, true);
    this.#view.setUint16(configurationField.status, on ? status | bit : status & ~bit, true);
  }

  /** The driver has broken a rule: only a reset helps. */
  #fail(reason: string): void {
    this.#failed = true;
    this.#transport.needsReset(reason);
  }
}

/** The next chain. If there is none, the driver is asked to tell of what comes. */
function nextChain(queue: Virtqueue): DescriptorChain | undefined {
  return queue.pop() ?? (queue.hasAvailable() ? queue.pop() : undefined);
}

/** Writes bytes into the buffers of chains, one after the other, and gives the chains back. */
function scatter(queue: Virtqueue, chains: readonly DescriptorChain[], parts: readonly Uint8Array[]): void {
  let [part = new Uint8Array(), ...rest] = parts;
  for (const chain of chains) {
    let written = 0;
    for (const buffer of chain.writable) {
      for (let at = 0; at < buffer.length; ) {
        if (part.length === 0) {
          const next = rest.shift();
          if (next === undefined) break;
          part = next;
        }
        const count = Math.min(part.length, buffer.length - at);
        buffer.set(part.subarray(0, count), at);
        part = part.subarray(count);
        at += count;
        written += count;
      }
    }
    queue.push(chain, written);
  }
}

/** The parts without so many bytes at their beginning. */
function withoutBytes(parts: readonly Uint8Array[], count: number): Uint8Array[] {
  const result: Uint8Array[] = [];
  let left = count;
  for (const part of parts) {
    if (part.length > left) result.push(part.subarray(left));
    left = Math.max(0, left - part.length);
  }
  return result;
}
