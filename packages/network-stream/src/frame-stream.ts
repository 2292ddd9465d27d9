import { largestFrame } from "@cpr/core";
import type { PolledDescriptor } from "@cpr/native-socket";

/** Bytes of the length before each frame. */
const lengthSize = 4;
/** How much is read at once: many frames, or several of the largest. */
const bufferSize = 4 * 65_536;
/** How many times is read before others have their turn. */
const readsPerTurn = 8;

/** What a {@link FrameStream} tells. */
export interface FrameStreamEvents {
  /** As `NetworkCard.receive`. */
  frame(frame: Uint8Array): boolean;
  /** Frames can be sent again after one was refused. */
  sendable(): void;
  /** The connection is over. It is not told of an end by {@link FrameStream.close}. */
  ended(): void;
}

/** Frames in a stream of bytes, each behind its length as a big-endian number (QEMU: -netdev stream). */
export class FrameStream {
  readonly #descriptor: PolledDescriptor;
  readonly #events: FrameStreamEvents;
  readonly #buffer = new Uint8Array(bufferSize);
  readonly #lengths = new DataView(this.#buffer.buffer);
  readonly #length = Buffer.alloc(lengthSize);
  #start = 0;
  #end = 0;
  /** The card has no room. */
  #waiting = false;
  /** What of a frame could not be written yet. */
  #rest: Uint8Array | undefined;
  #refused = false;
  #open = true;

  constructor(descriptor: PolledDescriptor, events: FrameStreamEvents) {
    this.#descriptor = descriptor;
    this.#events = events;
    descriptor.whenReadable(() => this.#read());
  }

  /** As `NetworkLink.send`. */
  send(parts: readonly Uint8Array[]): boolean {
    if (!this.#open) return true;
    if (this.#rest !== undefined) {
      this.#refused = true;
      return false;
    }
    const size = parts.reduce((sum, { length }) => sum + length, 0);
    this.#length.writeUInt32BE(size);
    const written = this.#write([this.#length, ...parts]);
    if (written === undefined) {
      this.#refused = true;
      this.#descriptor.whenWritable(() => this.#flush());
      return false;
    }
    if (written < lengthSize + size && this.#open) {
      // The parts are the caller's again, so the rest is a copy.
      this.#rest = Buffer.concat([this.#length, ...parts]).subarray(written);
      this.#descriptor.whenWritable(() => this.#flush());
    }
    return true;
  }

  /** As `NetworkLink.receive`. */
  receive(): void {
    if (this.#waiting && this.#open) {
      this.#waiting = false;
      this.#read();
    }
  }

  close(): void {
    this.#open = false;
    this.#descriptor.close();
  }

  #flush(): void {
    if (this.#rest !== undefined) {
      const written = this.#write([this.#rest]);
      if (!this.#open) return;
      this.#rest = written === this.#rest.length ? undefined : this.#rest.subarray(written ?? 0);
    }
    if (this.#rest !== undefined) {
      this.#descriptor.whenWritable(() => this.#flush());
    } else if (this.#refused) {
      this.#refused = false;
      this.#events.sendable();
    }
  }

  /** Bytes that were written; all of them if the connection is over, since they are lost with it. */
  #write(parts: readonly Uint8Array[]): number | undefined {
    try {
      return this.#descriptor.write(parts);
    } catch {
      this.#fail();
      return 0;
    }
  }

  #read(): void {
    for (let turn = 0; turn < readsPerTurn; turn += 1) {
      if (!this.#deliver()) return;
      const count = this.#readMore();
      if (count === undefined) break;
      this.#end += count;
    }
    if (this.#deliver()) this.#descriptor.whenReadable(() => this.#read());
  }

  /** @returns how many bytes there are more; undefined if there are none now */
  #readMore(): number | undefined {
    try {
      const count = this.#descriptor.read(this.#buffer.subarray(this.#end));
      if (count !== 0) return count;
    } catch {
      // The connection was reset, which is an end as well.
    }
    this.#fail();
    return undefined;
  }

  /** Hands on the frames that are complete. @returns whether more may be read */
  #deliver(): boolean {
    const buffer = this.#buffer;
    while (this.#open && this.#end - this.#start >= lengthSize) {
      const length = this.#lengths.getUint32(this.#start);
      if (length > largestFrame) {
        // These are no frames; nothing more can be found in what follows.
        this.#fail();
        break;
      }
      const next = this.#start + lengthSize + length;
      if (next > this.#end) break;
      if (!this.#events.frame(buffer.subarray(this.#start + lengthSize, next))) {
        this.#waiting = true;
        return false;
      }
      this.#start = next;
    }
    buffer.copyWithin(0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
    return this.#open;
  }

  #fail(): void {
    if (!this.#open) return;
    this.close();
    this.#events.ended();
  }
}
