/** Bytes of an Ethernet address. */
export const macSize = 6;

/** Reads `52:54:00:12:34:56`: an address of one card, not of a group; undefined if it is none. */
export function parseMacAddress(text: string): Uint8Array | undefined {
  if (!/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(text)) return undefined;
  const bytes = Uint8Array.from(text.split(/[:-]/), (part) => Number.parseInt(part, 16));
  return isGroup(bytes) ? undefined : bytes;
}

/** Whether an address is a group's: the first bit on the wire (IEEE 802.3 §3.2.3). */
export function isGroup(bytes: Uint8Array, offset = 0): boolean {
  return ((bytes[offset] ?? 0) & 1) !== 0;
}
