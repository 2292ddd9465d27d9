let zlib: typeof import("node:zlib") | undefined;

/**
 * The CRC-32 of some bytes, or of what came before and those bytes.
 *
 * @param before - the checksum of what came before.
 */
export function crc32(bytes: Uint8Array, before = 0): number {
  // Not imported: it takes milliseconds to load, which both threads of a process that starts would spend.
  zlib ??= process.getBuiltinModule("node:zlib");
  return zlib.crc32(bytes, before);
}
