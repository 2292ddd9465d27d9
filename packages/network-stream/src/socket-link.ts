import type { NetworkCard, NetworkLink, NetworkSupports } from "@cpr/core";
import type { PolledDescriptor } from "@cpr/native-socket";
import { FrameStream } from "./frame-stream.ts";

/** A link over a connection that comes and goes. Whoever extends it says where the connection is from. */
export abstract class SocketLink implements NetworkLink {
  readonly supports: NetworkSupports;
  #card: NetworkCard | undefined;
  #stream: FrameStream | undefined;
  #running = false;

  constructor(supports: NetworkSupports) {
    this.supports = supports;
  }

  get up(): boolean {
    return this.#stream !== undefined;
  }

  attach(card: NetworkCard): void {
    this.#card = card;
  }

  send(parts: readonly Uint8Array[]): boolean {
    // Without a connection it goes nowhere, like what is sent into a cable that is not plugged in.
    return this.#stream?.send(parts) ?? true;
  }

  receive(): void {
    this.#stream?.receive();
  }

  async start(): Promise<void> {
    this.#running = true;
    await this.connect();
  }

  stop(): void {
    this.#running = false;
    this.release();
  }

  close(): void {
    this.stop();
    this.disconnect();
  }

  /** Sees to it that there is a connection, now or later. @throws {CprError} if there cannot be one. */
  protected abstract connect(): Promise<void>;

  /** Gives up what another process may want: the connection, unless nobody else can have it. */
  protected abstract release(): void;

  /** The connection is there. */
  protected connected(descriptor: PolledDescriptor): void {
    this.#stream = new FrameStream(descriptor, {
      // What comes while the VM stands still waits.
      frame: (frame) => this.#running && (this.#card?.receive(frame) ?? true),
      sendable: () => this.#tell((card) => card.sendable()),
      ended: () => {
        this.#stream = undefined;
        this.#tell((card) => card.linkChanged());
        // What the card could not send is lost now.
        this.#tell((card) => card.sendable());
        this.lost();
      },
    });
    this.#tell((card) => card.linkChanged());
  }

  /** Ends the connection, if there is one. */
  protected disconnect(): void {
    this.#stream?.close();
    this.#stream = undefined;
  }

  /** The other side has ended the connection. */
  protected abstract lost(): void;

  #tell(what: (card: NetworkCard) => void): void {
    if (this.#running && this.#card !== undefined) what(this.#card);
  }
}
