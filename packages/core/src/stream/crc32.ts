/** The CRC-32 of what came before and of some bytes. */
export type Crc32 = (bytes: Uint8Array, before: number) => number;

let implementation: Crc32 | undefined;

/**
 * The CRC-32 of some bytes, or of what came before and those bytes.
 *
 * @param before - the checksum of what came before.
 */
export function crc32(bytes: Uint8Array, before = 0): number {
  // Not imported: it takes milliseconds to load, which both threads of a process that starts would spend.
  implementation ??= process.getBuiltinModule("node:zlib").crc32 as Crc32;
  return implementation(bytes, before);
}

/** Lets {@link crc32} be computed by a function that is faster than Node's and gives the same, on this thread. */
export function useCrc32(faster: Crc32): void {
  implementation = faster;
}
