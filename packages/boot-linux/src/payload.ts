import { bootErrors } from "./errors.ts";

/** How a kernel's payload is compressed, by the bytes that it begins with (Linux scripts/extract-vmlinux). */
const formats = [
  { name: "gzip", magic: [0x1f, 0x8b] },
  { name: "xz", magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] },
  { name: "bzip2", magic: [0x42, 0x5a, 0x68] },
  { name: "lzma", magic: [0x5d, 0x00, 0x00] },
  { name: "lzo", magic: [0x89, 0x4c, 0x5a] },
  { name: "lz4", magic: [0x02, 0x21, 0x4c, 0x18] },
  { name: "zstd", magic: [0x28, 0xb5, 0x2f, 0xfd] },
  { name: "uncompressed", magic: [0x7f, 0x45, 0x4c, 0x46] },
] as const;

/** Name of a compression format. */
export type PayloadFormat = (typeof formats)[number]["name"];

/** Greatest size of a block in LZ4's legacy frame format. */
const lz4BlockLimit = 8 * 2 ** 20;
/** No kernel is larger; a damaged size field must not ask for all of the host's memory. */
const sizeLimit = 2 ** 30;

/** The payload's compression, or undefined if it is none that Linux knows. */
export function payloadFormat(payload: Uint8Array): PayloadFormat | undefined {
  return formats.find(({ magic }) => magic.every((byte, index) => payload[index] === byte))?.name;
}

/**
 * Unpacks the payload of a bzImage: the kernel proper, an ELF file. Returns undefined if its format is one for which there
 * is no decoder here; the kernel can still unpack itself.
 *
 * @throws {CprError} if the payload is damaged.
 */
export async function unpackPayload(payload: Uint8Array, path: string): Promise<Uint8Array | undefined> {
  const format = payloadFormat(payload);
  if (format === undefined || format === "bzip2" || format === "lzo") {
    return undefined;
  }
  if (format === "uncompressed") {
    return payload;
  }
  const damaged = (reason: string, cause?: unknown): Error =>
    bootErrors.ERR_CPR_KERNEL_DAMAGED({ path, reason }, { cause });
  // Linux puts the unpacked size behind the compressed bytes; gzip has it there by itself.
  const trailer = payload.length - 4;
  const size = new DataView(payload.buffer, payload.byteOffset + trailer, 4).getUint32(0, true);
  if (size > sizeLimit) {
    throw damaged(`its unpacked size of ${size} bytes is impossible`);
  }
  const decoder = await loadDecoder(format);
  if (decoder === undefined) {
    return undefined;
  }
  let unpacked: Uint8Array;
  try {
    unpacked = decoder(format === "gzip" ? payload : payload.subarray(0, trailer), size);
  } catch (cause) {
    throw damaged(`its ${format} data cannot be unpacked`, cause);
  }
  if (unpacked.length < size) {
    throw damaged(`it unpacks to ${unpacked.length} bytes instead of ${size}`);
  }
  return unpacked;
}

type Decoder = (compressed: Uint8Array, size: number) => Uint8Array;

/** Loads a decoder when it is needed; undefined if its native part does not exist for this host. */
async function loadDecoder(format: "gzip" | "zstd" | "lz4" | "xz" | "lzma"): Promise<Decoder | undefined> {
  switch (format) {
    case "gzip": {
      const { gunzipSync } = await import("node:zlib");
      return (compressed, size) => gunzipSync(compressed, { maxOutputLength: size });
    }
    case "zstd": {
      const { zstdDecompressSync } = await import("node:zlib");
      return (compressed, size) => zstdDecompressSync(compressed, { maxOutputLength: size });
    }
    case "lz4": {
      const lz4 = await import("lz4-napi").catch(() => undefined);
      return lz4 && ((compressed, size) => unpackLz4(compressed, size, (block) => lz4.uncompressSync(block)));
    }
    default: {
      const lzma = await import("@napi-rs/lzma").catch(() => undefined);
      return lzma && ((compressed) => lzma[format].decompressSync(compressed));
    }
  }
}

/**
 * LZ4's legacy frame format (lz4_Frame_format.md, "Legacy frame"): blocks of 8 MiB, the last one shorter. Unpacking block
 * by block into one buffer is twice as fast as the library's own frame decoder, which does not know the size beforehand.
 *
 * @param unpackBlock takes a block that is preceded by its unpacked size
 */
function unpackLz4(compressed: Uint8Array, size: number, unpackBlock: (block: Uint8Array) => Uint8Array): Uint8Array {
  const view = new DataView(compressed.buffer, compressed.byteOffset, compressed.byteLength);
  const unpacked = new Uint8Array(size);
  const magicSize = 4;
  let from = magicSize;
  let to = 0;
  while (to < size) {
    const length = view.getUint32(from, true);
    const block = new Uint8Array(length + 4);
    new DataView(block.buffer).setUint32(0, Math.min(lz4BlockLimit, size - to), true);
    if (from + 4 + length > compressed.length) {
      throw new RangeError("a block goes beyond the end");
    }
    block.set(compressed.subarray(from + 4, from + 4 + length), 4);
    const bytes = unpackBlock(block);
    unpacked.set(bytes, to);
    to += bytes.length;
    from += 4 + length;
    if (bytes.length === 0) {
      throw new RangeError("a block is empty");
    }
  }
  return unpacked;
}
