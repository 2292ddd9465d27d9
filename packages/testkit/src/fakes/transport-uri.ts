import type { TransportUri } from "@cpr/core";

/** Takes a URI apart at its first colon. @throws {TypeError} if it has none. */
export function transportUri(text: string): TransportUri {
  const colon = text.indexOf(":");
  if (colon <= 0) {
    throw new TypeError(`'${text}' has no scheme`);
  }
  return { text, scheme: text.slice(0, colon), rest: text.slice(colon + 1) };
}
