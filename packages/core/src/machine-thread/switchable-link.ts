import type { NetworkCard, NetworkLink, NetworkSupports, ReceiveOffloads } from "../network-backend.ts";

/** A network whose cable the user can pull out and plug in again (`set_link`). Frames that are under way meanwhile are lost. */
export class SwitchableLink implements NetworkLink {
  readonly supports: NetworkSupports;
  readonly #link: NetworkLink;
  #card: NetworkCard | undefined;
  #pluggedIn = true;
  #running = false;

  constructor(link: NetworkLink) {
    this.supports = link.supports;
    this.#link = link;
  }

  get up(): boolean {
    return this.#pluggedIn && this.#link.up;
  }

  /** Plugs the cable in, or pulls it out. */
  plug(pluggedIn: boolean): void {
    this.#pluggedIn = pluggedIn;
    if (!this.#running) return;
    this.#card?.linkChanged();
    // What a card waits to send goes nowhere, and what waits for room in the card is lost with the cable.
    if (!pluggedIn) {
      this.#card?.sendable();
      this.#link.receive();
    }
  }

  attach(card: NetworkCard): void {
    this.#card = card;
    this.#link.attach({
      receive: (frame) => !this.#pluggedIn || card.receive(frame),
      sendable: () => card.sendable(),
      linkChanged: () => card.linkChanged(),
    });
  }

  setOffloads(offloads: ReceiveOffloads): void {
    this.#link.setOffloads?.(offloads);
  }

  send(parts: readonly Uint8Array[]): boolean {
    return !this.#pluggedIn || this.#link.send(parts);
  }

  receive(): void {
    this.#link.receive();
  }

  async start(): Promise<void> {
    await this.#link.start();
    this.#running = true;
  }

  stop(): void {
    this.#running = false;
    this.#link.stop();
  }

  close(): void {
    this.#running = false;
    this.#link.close();
  }
}
