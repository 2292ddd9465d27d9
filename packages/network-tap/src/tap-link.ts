import {
  largestFrame,
  type NetworkCard,
  type NetworkLink,
  type NetworkSupports,
  type ReceiveOffloads,
} from "@cpr/core";
import { PolledDescriptor, setTapOffload } from "@cpr/native-socket";
import { offloadFlag } from "./tap-flags.ts";

/** How many frames are read before others have their turn. */
const framesPerTurn = 64;

/** What a {@link TapLink} is made from. */
export interface TapLinkOptions {
  readonly supports: NetworkSupports;
  /** A descriptor of the tap, which the link closes when the VM stops. @throws {CprError} if it cannot be had */
  attach(): number;
}

/** A link over a tap device: the host's kernel is the other end, and always there. */
export class TapLink implements NetworkLink {
  readonly supports: NetworkSupports;
  readonly #attach: () => number;
  readonly #buffer = new Uint8Array(largestFrame);
  #card: NetworkCard | undefined;
  #tap: PolledDescriptor | undefined;
  #configureOffloads: () => void = () => undefined;
  #offloads = 0;
  /** Bytes of a frame in the buffer that the card had no room for. */
  #waiting = 0;
  #up = true;

  constructor({ supports, attach }: TapLinkOptions) {
    this.supports = supports;
    this.#attach = attach;
  }

  get up(): boolean {
    return this.#up;
  }

  attach(card: NetworkCard): void {
    this.#card = card;
  }

  setOffloads({ checksum, tso4, tso6, ecn }: ReceiveOffloads): void {
    const segmentation = (tso4 ? offloadFlag.tso4 : 0) | (tso6 ? offloadFlag.tso6 : 0);
    const marks = ecn && segmentation !== 0 ? offloadFlag.ecn : 0;
    this.#offloads = checksum ? offloadFlag.checksum | segmentation | marks : 0;
    this.#configureOffloads();
  }

  async start(): Promise<void> {
    const descriptor = this.#attach();
    if (this.supports.offloads) {
      this.#configureOffloads = () => setTapOffload(descriptor, this.#offloads);
      this.#configureOffloads();
    }
    this.#up = true;
    this.#tap = new PolledDescriptor(descriptor);
    this.#tap.whenReadable(() => this.#read());
  }

  stop(): void {
    this.#configureOffloads = () => undefined;
    // A frame that waits is lost, like those that come while nobody is there.
    this.#waiting = 0;
    this.#tap?.close();
    this.#tap = undefined;
  }

  close(): void {
    this.stop();
  }

  send(parts: readonly Uint8Array[]): boolean {
    try {
      if (this.#tap === undefined || this.#tap.write(parts) !== undefined) return true;
      this.#tap.whenWritable(() => this.#card?.sendable());
      return false;
    } catch {
      // The kernel does not want it: it is no frame, or the interface is down. It is lost.
      return true;
    }
  }

  receive(): void {
    if (this.#waiting > 0) this.#read();
  }

  #read(): void {
    for (let turn = 0; turn < framesPerTurn; turn += 1) {
      if (this.#waiting === 0) this.#waiting = this.#readFrame();
      if (this.#tap === undefined || this.#card === undefined) return;
      if (this.#waiting === 0) break;
      if (!this.#card.receive(this.#buffer.subarray(0, this.#waiting))) return;
      this.#waiting = 0;
    }
    this.#tap?.whenReadable(() => this.#read());
  }

  /** @returns bytes of a frame; 0 if there is none now */
  #readFrame(): number {
    try {
      return this.#tap?.read(this.#buffer) ?? 0;
    } catch {
      // Somebody has removed the interface.
      this.stop();
      this.#up = false;
      this.#card?.linkChanged();
      return 0;
    }
  }
}
