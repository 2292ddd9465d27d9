import { streamErrors } from "../errors/stream-errors.ts";
import type { CprError } from "../errors.ts";
import { crc32 } from "./crc32.ts";
import { encodeName, pageSize } from "./format.ts";

/** The bytes of a RAM block that have a checksum of their own. */
export const chunkSize = 1024 * 1024;

/**
 * What the checksum of a chunk begins with: it is bound to the block and to the chunk's place in it.
 *
 * @param offset - of the chunk in its block, in bytes.
 */
export function beginChunk(id: string, offset: number): number {
  const name = encodeName(id);
  const head = new Uint8Array(name.length + 1 + 8);
  head.set(name);
  new DataView(head.buffer).setBigUint64(name.length + 1, BigInt(offset));
  return crc32(head);
}

/**
 * The checksum of a chunk with one page more. Pages come in ascending order, and those that the stream does not have
 * are left out. A chunk without any page has the checksum 0 by definition.
 *
 * @param page - the page's index in the chunk.
 */
export function addPage(checksum: number, page: number, contents: Uint8Array): number {
  return crc32(contents, addByte(checksum, page));
}

/** What {@link crc32} gives for one byte more, without a call into native code. */
function addByte(checksum: number, byte: number): number {
  const remainder = ~checksum;
  return ~((byteTable[(remainder ^ byte) & 0xff] as number) ^ (remainder >>> 8)) >>> 0;
}

/** The remainders of all bytes (polynomial 0x04C11DB7, reflected). */
const byteTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte;
  for (let bit = 0; bit < 8; bit++) {
    remainder = (remainder & 1) === 0 ? remainder >>> 1 : (remainder >>> 1) ^ 0xedb8_8320;
  }
  return remainder;
});

/** @param offset - of the chunk in its block, in bytes. */
export function damagedChunk(id: string, offset: number): CprError {
  return streamErrors.ERR_CPR_STREAM_DAMAGED({
    problem: `RAM block '${id}' is not what was written, in the ${chunkSize} bytes at offset 0x${offset.toString(16)}`,
  });
}

/** Checksums of all chunks of a block whose pages come one after the other. */
export class BlockChecksums {
  readonly #id: string;
  /** By chunk, with holes: who reads a stream does not know yet whether a block is as large as it says. */
  readonly #values: number[] = [];
  /** The chunk that the last page was in. */
  #chunk = -1;

  constructor(id: string) {
    this.#id = id;
  }

  /** The checksum of a chunk, as far as it has come. */
  of(chunk: number): number {
    return this.#values[chunk] ?? 0;
  }

  /** The checksums of all chunks of a block of so many bytes. */
  all(size: number): Uint32Array {
    return Uint32Array.from({ length: Math.ceil(size / chunkSize) }, (_, chunk) => this.of(chunk));
  }

  /**
   * Adds a page that is in the stream.
   *
   * @param offset - of the page in the block; ascending.
   */
  add(offset: number, contents: Uint8Array): void {
    const chunk = Math.floor(offset / chunkSize);
    if (chunk !== this.#chunk) {
      this.#chunk = chunk;
      this.#values[chunk] = beginChunk(this.#id, chunk * chunkSize);
    }
    const page = (offset % chunkSize) / pageSize;
    this.#values[chunk] = addPage(this.of(chunk), page, contents);
  }
}
