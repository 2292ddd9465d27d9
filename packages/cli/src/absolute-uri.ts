import { resolve } from "node:path";

/**
 * A migration URI with an absolute path, so that it means the same in another process: a command's file is in the folder
 * where the command was given. A bare path means a file too.
 */
export function absoluteUri(text: string): string {
  const match = /^([a-z][a-z0-9+.-]*):(.*)$/is.exec(text);
  if (match === null) {
    return `file:${resolve(text)}`;
  }
  const [, scheme, rest = ""] = match;
  return scheme === "file" && rest !== "" ? `file:${resolve(rest)}` : text;
}
