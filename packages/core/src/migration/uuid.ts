/** A UUID in its 16 bytes, in the order of its text. */
export function encodeUuid(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll("-", ""), "hex"));
}

/** The text of a UUID of 16 bytes. */
export function decodeUuid(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
