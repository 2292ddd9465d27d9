import type { NetworkCard, NetworkLink, NetworkSupports, ReceiveOffloads } from "@cpr/core";

/** A network in a test's hand: it keeps what the card sends and gives what the test sends. */
export class RecordingNetworkLink implements NetworkLink {
  readonly supports: NetworkSupports;
  /** The frames that the card has sent. */
  readonly sent: Uint8Array[] = [];
  /** What was said of unfinished frames last. */
  offloads: ReceiveOffloads | undefined;
  /** How many more frames are taken before one is refused. */
  room = Number.POSITIVE_INFINITY;
  card: NetworkCard | undefined;
  running = false;
  closed = false;
  #up = true;
  readonly #waiting: Uint8Array[] = [];

  constructor(supports: Partial<NetworkSupports> = {}) {
    this.supports = { offloads: false, survivesProcessExit: true, ...supports };
  }

  get up(): boolean {
    return this.#up;
  }

  /** Frames that the card has had no room for. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Pulls the cable out, or plugs it in. */
  plug(up: boolean): void {
    this.#up = up;
    this.card?.linkChanged();
  }

  /** Sends a frame to the card. */
  deliver(frame: Uint8Array): void {
    this.#waiting.push(frame.slice());
    if (this.#waiting.length === 1) this.receive();
  }

  attach(card: NetworkCard): void {
    this.card = card;
  }

  setOffloads(offloads: ReceiveOffloads): void {
    this.offloads = offloads;
  }

  send(parts: readonly Uint8Array[]): boolean {
    if (this.room === 0) return false;
    this.room -= 1;
    this.sent.push(new Uint8Array(Buffer.concat(parts)));
    return true;
  }

  receive(): void {
    while (this.#waiting[0] !== undefined && this.card?.receive(this.#waiting[0]) === true) this.#waiting.shift();
  }

  async start(): Promise<void> {
    this.running = true;
  }

  stop(): void {
    this.running = false;
  }

  close(): void {
    this.running = false;
    this.closed = true;
  }
}
