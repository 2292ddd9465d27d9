import { streamErrors } from "../errors/stream-errors.ts";
import { crc32 } from "./crc32.ts";
import { maximumName } from "./format.ts";

/**
 * Fills a buffer; returns how many bytes, fewer only at the end of the stream.
 *
 * @param position - of the first byte in the stream; it follows the bytes before, unless the reader has skipped something.
 */
export type ReadBytes = (buffer: Uint8Array, position: number) => Promise<number>;

const capacity = 1024 * 1024;
const decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * Reads a stream in large pieces. {@link need} makes bytes available; the methods after it take them without waiting.
 */
export class StreamReader {
  readonly #read: ReadBytes;
  #bytes: Uint8Array = new Uint8Array(capacity);
  #view: DataView = new DataView(this.#bytes.buffer);
  #start = 0;
  #end = 0;
  /** Bytes of the stream in front of the buffer. */
  #before = 0;
  #atEnd = false;
  /** CRC-32 of the bytes in front of {@link #summed}. */
  #checksum = 0;
  /** Up to where in the buffer the checksum has come. */
  #summed = 0;

  constructor(read: ReadBytes) {
    this.#read = read;
  }

  /** Bytes taken so far. */
  get position(): number {
    return this.#before + this.#start;
  }

  /** Bytes that can be taken without waiting. */
  get available(): number {
    return this.#end - this.#start;
  }

  /** The CRC-32 of the bytes taken so far. */
  checksum(): number {
    this.#sum();
    return this.#checksum;
  }

  /** Makes at least `length` bytes available. @throws {CprError} ERR_CPR_STREAM_TRUNCATED if there are not so many. */
  async need(length: number): Promise<void> {
    if (this.available < length && !(await this.#fill(length))) {
      throw streamErrors.ERR_CPR_STREAM_TRUNCATED({ position: this.#before + this.#end });
    }
  }

  /** Whether the stream has ended and all has been taken. */
  async ended(): Promise<boolean> {
    return this.available === 0 && !(await this.#fill(1));
  }

  u8(): number {
    return this.#bytes[this.#start++] as number;
  }

  u16(): number {
    this.#start += 2;
    return this.#view.getUint16(this.#start - 2);
  }

  u32(): number {
    this.#start += 4;
    return this.#view.getUint32(this.#start - 4);
  }

  /** A 64-bit integer. NOTE: from 2^53 on it is not exact; such a number is out of range everywhere in the format. */
  u64(): number {
    const high = this.u32();
    return high * 0x1_0000_0000 + this.u32();
  }

  /** The next byte, which is not taken. */
  peek(): number {
    return this.#bytes[this.#start] as number;
  }

  /** Goes on at a later position. What lies between is no part of the checksum. */
  skipTo(position: number): void {
    this.#sum();
    const ahead = position - this.position;
    if (ahead <= this.available) {
      this.#start += ahead;
    } else {
      this.#before = position;
      this.#start = 0;
      this.#end = 0;
    }
    this.#summed = this.#start;
  }

  /** A window on the next bytes, valid until the next {@link need}. */
  window(length: number): Uint8Array {
    this.#start += length;
    return this.#bytes.subarray(this.#start - length, this.#start);
  }

  /** A name behind its length in one byte. */
  async name(): Promise<string> {
    await this.need(1);
    const length = this.u8();
    if (length === 0 || length > maximumName) {
      throw this.error(`a name has ${length} bytes`);
    }
    return this.text(length);
  }

  async text(length: number): Promise<string> {
    await this.need(length);
    const bytes = this.window(length);
    try {
      return decoder.decode(bytes);
    } catch {
      throw this.error("a name is not UTF-8");
    }
  }

  /** Takes all that is left. @throws {CprError} ERR_CPR_STREAM_FORMAT if it is more than `limit` bytes. */
  async rest(limit: number): Promise<Uint8Array> {
    while (await this.#fill(this.available + 1)) {
      if (this.available > limit) {
        throw this.error(`more than ${limit} bytes follow`);
      }
    }
    return this.window(this.available);
  }

  /**
   * Takes everything but the last `keep` bytes of the stream, which it returns: fewer if there are not so many.
   */
  async drain(keep: number): Promise<Uint8Array> {
    for (;;) {
      this.#start = Math.max(this.#start, this.#end - keep);
      if (!(await this.#fill(this.available + 1))) {
        this.#start = Math.max(this.#start, this.#end - keep);
        this.#sum();
        return this.#bytes.slice(this.#start, this.#end);
      }
    }
  }

  /** An error in the format at the present position. */
  error(problem: string): Error {
    return streamErrors.ERR_CPR_STREAM_FORMAT({ position: this.position, problem });
  }

  /** Reads until `length` bytes are available; whether they are. */
  async #fill(length: number): Promise<boolean> {
    if (this.#atEnd) {
      return false;
    }
    if (this.#start + length > this.#bytes.length) {
      this.#sum();
      const larger = length > this.#bytes.length / 2 ? new Uint8Array(2 * length) : this.#bytes;
      if (larger === this.#bytes) {
        larger.copyWithin(0, this.#start, this.#end);
      } else {
        larger.set(this.#bytes.subarray(this.#start, this.#end));
        this.#bytes = larger;
        this.#view = new DataView(larger.buffer);
      }
      this.#before += this.#start;
      this.#end -= this.#start;
      this.#start = 0;
      this.#summed = 0;
    }
    while (this.available < length) {
      const read = await this.#read(this.#bytes.subarray(this.#end), this.#before + this.#end);
      if (read === 0) {
        this.#atEnd = true;
        return false;
      }
      this.#end += read;
    }
    return true;
  }

  #sum(): void {
    this.#checksum = crc32(this.#bytes.subarray(this.#summed, this.#start), this.#checksum);
    this.#summed = this.#start;
  }
}
