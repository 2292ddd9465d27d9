import { crc32 } from "./crc32.ts";
import { encodeName } from "./format.ts";

/**
 * Where the writer's bytes go. The buffer may be reused when the promise is fulfilled.
 *
 * @param position - of the first byte in the stream; it follows the piece before, unless the writer has skipped something.
 */
export type WriteBytes = (bytes: Uint8Array, position: number) => Promise<void>;

const initialCapacity = 128 * 1024;

/** How much is gathered before it is written. */
export const writeChunk = 1024 * 1024;

/**
 * Gathers the bytes of a stream and writes them in few large pieces; a stream that is smaller than {@link writeChunk}
 * is written at once. While one piece is being written, the next one is filled.
 */
export class StreamWriter {
  readonly #write: WriteBytes;
  #bytes: Uint8Array = new Uint8Array(initialCapacity);
  #view: DataView = new DataView(this.#bytes.buffer);
  #spare: Uint8Array | undefined;
  #used = 0;
  /** Bytes in front of the buffer. */
  #before = 0;
  #checksum = 0;
  #pending: Promise<void> = Promise.resolve();

  constructor(write: WriteBytes) {
    this.#write = write;
  }

  /** Bytes so far. */
  get position(): number {
    return this.#before + this.#used;
  }

  u8(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#used++] = value;
  }

  u16(value: number): void {
    this.#reserve(2);
    this.#view.setUint16(this.#used, value);
    this.#used += 2;
  }

  u32(value: number): void {
    this.#reserve(4);
    this.#view.setUint32(this.#used, value);
    this.#used += 4;
  }

  /** A 64-bit integer below 2^53. */
  u64(value: number): void {
    this.#reserve(8);
    this.#view.setUint32(this.#used, Math.floor(value / 0x1_0000_0000));
    this.#view.setUint32(this.#used + 4, value % 0x1_0000_0000);
    this.#used += 8;
  }

  bytes(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#used);
    this.#used += bytes.length;
  }

  /** A name behind its length in one byte. */
  name(name: string): void {
    const bytes = encodeName(name);
    this.u8(bytes.length);
    this.bytes(bytes);
  }

  /** Whether it is time for {@link flush}. */
  get full(): boolean {
    return this.#used >= writeChunk;
  }

  /**
   * Hands on what has been gathered. Fulfilled as soon as there is a buffer to go on with.
   *
   * @throws what the write before threw.
   */
  async flush(): Promise<void> {
    await this.#pending;
    if (this.#used === 0) {
      return;
    }
    const piece = this.#bytes.subarray(0, this.#used);
    const position = this.#before;
    this.#checksum = crc32(piece, this.#checksum);
    this.#before += this.#used;
    const written = this.#bytes;
    this.#bytes = this.#spare ?? new Uint8Array(writeChunk + initialCapacity);
    this.#view = new DataView(this.#bytes.buffer);
    this.#used = 0;
    this.#spare = undefined;
    this.#pending = this.#write(piece, position).then(() => {
      this.#spare = written;
    });
    // The failure is told by the next flush or by finish; until then nobody may call it unhandled.
    this.#pending.catch(() => undefined);
  }

  /** Goes on at a later position. What lies between is no part of the checksum, and somebody else's to write. */
  async skipTo(position: number): Promise<void> {
    await this.flush();
    this.#before = position;
  }

  /** The CRC-32 of all bytes so far. */
  checksum(): number {
    return crc32(this.#bytes.subarray(0, this.#used), this.#checksum);
  }

  /** Fulfilled when everything has been written. */
  async finish(): Promise<void> {
    await this.flush();
    await this.#pending;
  }

  #reserve(length: number): void {
    const needed = this.#used + length;
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(needed, 2 * this.#bytes.length));
      larger.set(this.#bytes.subarray(0, this.#used));
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
  }
}
