import { extensionPoint } from "./plugin.ts";

/** A network that a card of the guest can be connected to: `-netdev TYPE,id=ID,NAME=VALUE,…`. Plain data. */
export interface NetworkOptions {
  /** Name of the backend. */
  readonly type: string;
  /** Unique among the networks of a VM. */
  readonly id: string;
  /** What follows, as it was written; the backend reads and checks it. */
  readonly properties: Readonly<Record<string, string>>;
}

/** What a network can do, as data. */
export interface NetworkSupports {
  /**
   * Each frame, in both directions, begins with the header of virtio (virtio 1.2 §5.1.6: 12 bytes), which says what of its
   * checksum and its segmentation is left to the other side. Without it, a frame begins with the Ethernet header and is complete.
   */
  readonly offloads: boolean;
  /**
   * What is behind the link does not notice that the process is replaced: the guest's addresses and connections live on, but
   * for frames that come when nobody is there.
   */
  readonly survivesProcessExit: boolean;
}

/** Bytes of the header in front of each frame where {@link NetworkSupports.offloads} (virtio 1.2 §5.1.6). */
export const networkHeaderSize = 12;
/** No frame is longer: what segmentation offloads can leave together, with its Ethernet header and VLAN tag, and the header before it. */
export const largestFrame = networkHeaderSize + 18 + 65_535;

/** Which unfinished frames the guest takes; only where {@link NetworkSupports.offloads}. */
export interface ReceiveOffloads {
  /** Frames whose checksum is left to the receiver. The others need it. */
  readonly checksum: boolean;
  /** TCP over IPv4 and IPv6 longer than a packet, and with ECN. */
  readonly tso4: boolean;
  readonly tso6: boolean;
  readonly ecn: boolean;
}

/** The card at the guest's end of a link. It is called between {@link NetworkLink.start} and {@link NetworkLink.stop} only. */
export interface NetworkCard {
  /**
   * A frame has come. The bytes are the link's again when this returns.
   *
   * @returns false if there is no room now: the link keeps the frame, and those behind it where they are, until
   * {@link NetworkLink.receive}.
   */
  receive(frame: Uint8Array): boolean;
  /** The link takes frames again, after {@link NetworkLink.send} refused one. */
  sendable(): void;
  /** {@link NetworkLink.up} has changed. */
  linkChanged(): void;
}

/** A network that is open: a wire with one card at it. Nothing of it waits or blocks; it belongs to the machine thread. */
export interface NetworkLink {
  readonly supports: NetworkSupports;
  /** Whether there is somebody at the other end. */
  readonly up: boolean;
  /** Says which card is at it. Called once, before {@link start}. */
  attach(card: NetworkCard): void;
  /** What frames the guest takes from now on; none that are unfinished before the first call. */
  setOffloads?(offloads: ReceiveOffloads): void;
  /**
   * Sends a frame, given in parts, which are the caller's again when this returns. A frame that the other end cannot take is
   * lost, as it would be in a network.
   *
   * @returns false if the frame cannot be taken now: {@link NetworkCard.sendable} will be called.
   */
  send(parts: readonly Uint8Array[]): boolean;
  /** The card has room again: frames that wait are offered, before this returns or later. */
  receive(): void;
  /**
   * Takes what only one process can have, and begins. Called whenever the VM begins to run.
   *
   * @throws {CprError} if another has it, or the host refuses it; nothing is held then.
   */
  start(): Promise<void>;
  /** Ends that: the card is not called any more, and another process can take the network over, unless the backend's page says otherwise. */
  stop(): void;
  /** Releases everything. Called once, also while started. */
  close(): void;
}

/** What is known of the VM whose network is opened. */
export interface NetworkSituation {
  /** The VM waits for a checkpoint, and the one that was saved may still have the network. */
  readonly incoming: boolean;
}

/** Connects cards of guests to networks. */
export interface NetworkBackend {
  /** `-netdev NAME`; the key under `provides`. */
  readonly name: string;
  /** The most that its networks support. */
  readonly supports: NetworkSupports;
  /**
   * Checks the options and opens what can be open in several processes at once; on the machine thread.
   *
   * @throws {CprError} if an option is wrong, or it can be seen that the network cannot be used.
   */
  open(options: NetworkOptions, situation: NetworkSituation): Promise<NetworkLink>;
}

export const NetworkBackend = extensionPoint<NetworkBackend>("network-backend");
