import { streamErrors } from "../errors/stream-errors.ts";

/**
 * The line of ASCII that ends a checkpoint. Every field has a fixed width, so the trailer is found from the end.
 *
 * NOTE: nothing behind the vmdescription may contain a NUL byte, or QEMU's analyze-migration.py does not find it.
 */
export interface Trailer {
  /** CRC-32 (that of gzip and PNG) of everything in front of the trailer but the bitmaps and pages of mapped-ram. */
  readonly checksum: number;
  /** Bytes in front of the trailer. */
  readonly length: number;
  /** Bytes of the vmdescription's JSON, which ends where the trailer begins. */
  readonly descriptionLength: number;
}

const mark = "\n#cpr ";
const pattern = /^\n#cpr crc32=([0-9a-f]{8}) length=([0-9]{16}) description=([0-9]{8})\n$/;

/** Bytes of a trailer. */
export const trailerLength = encodeTrailer({ checksum: 0, length: 0, descriptionLength: 0 }).length;

export function encodeTrailer({ checksum, length, descriptionLength }: Trailer): Uint8Array {
  const digits = (value: number, width: number): string => String(value).padStart(width, "0");
  const crc = checksum.toString(16).padStart(8, "0");
  return new TextEncoder().encode(
    `${mark}crc32=${crc} length=${digits(length, 16)} description=${digits(descriptionLength, 8)}\n`,
  );
}

/**
 * Reads the trailer at the end of a stream.
 *
 * @param last - the last bytes of the stream.
 * @param length - how many bytes are in front of the trailer.
 * @throws {CprError} ERR_CPR_STREAM_TRUNCATED or ERR_CPR_STREAM_DAMAGED if there is no trailer, or not that of a stream of this length.
 */
export function readTrailer(last: Uint8Array, length: number): Trailer {
  const text = new TextDecoder("latin1").decode(last);
  const match = pattern.exec(text);
  if (match === null) {
    throw text.includes(mark.trim())
      ? streamErrors.ERR_CPR_STREAM_DAMAGED({ problem: "its last line is not as it should be" })
      : streamErrors.ERR_CPR_STREAM_TRUNCATED({ position: length + last.length });
  }
  const [, crc, total, description] = match as unknown as [string, string, string, string];
  const trailer = {
    checksum: Number.parseInt(crc, 16),
    length: Number(total),
    descriptionLength: Number(description),
  };
  if (trailer.length !== length) {
    throw streamErrors.ERR_CPR_STREAM_DAMAGED({ problem: `it has ${length} bytes, not ${trailer.length}` });
  }
  if (trailer.descriptionLength > length) {
    throw streamErrors.ERR_CPR_STREAM_DAMAGED({ problem: "its last line is not as it should be" });
  }
  return trailer;
}

/** @throws {CprError} ERR_CPR_STREAM_DAMAGED if a stream does not have the checksum that its trailer says. */
export function checkChecksum(trailer: Trailer, checksum: number): void {
  if (trailer.checksum !== checksum) {
    throw streamErrors.ERR_CPR_STREAM_DAMAGED({ problem: "its checksum is not that of its contents" });
  }
}
