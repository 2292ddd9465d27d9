import { macSize } from "./mac-address.ts";

/** How often and when a card that has come to another process is announced, in milliseconds (QEMU: announce-initial and so on). */
const rounds = 5;
const firstDelay = 50;
const delayStep = 100;

/** Tells the network where a card is now, again and again for a while: a switch may need time, and frames may be lost. */
export class Announcement {
  readonly #announce: () => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(announce: () => void) {
    this.#announce = announce;
  }

  start(): void {
    this.stop();
    this.#wait(0);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #wait(round: number): void {
    if (round === rounds) return;
    const next = (): void => {
      this.#announce();
      this.#wait(round + 1);
    };
    this.#timer = setTimeout(next, firstDelay + round * delayStep).unref();
  }
}

const smallestFrame = 60;
const typeOffset = 2 * macSize;

/**
 * The frame that tells switches at which of their ports a card is, for a driver that cannot do so itself: a request of RARP for the
 * address that belongs to the card (RFC 903). Nobody needs to answer.
 */
export function reverseRequest(mac: Uint8Array): Uint8Array {
  const frame = new Uint8Array(smallestFrame);
  frame.fill(0xff, 0, macSize);
  frame.set(mac, macSize);
  // Type RARP; Ethernet, IPv4, lengths of both addresses, request reverse.
  frame.set([0x80, 0x35, 0, 1, 0x08, 0x00, macSize, 4, 0, 3], typeOffset);
  const addresses = typeOffset + 10;
  const ipSize = 4;
  frame.set(mac, addresses);
  frame.set(mac, addresses + macSize + ipSize);
  return frame;
}
