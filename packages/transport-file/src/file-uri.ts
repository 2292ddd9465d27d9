import { parseMemorySize, type TransportUri } from "@cpr/core";
import { fileErrors } from "./errors.ts";

/** What a `file:` URI names. */
export interface FileLocation {
  readonly path: string;
  /** Where in the file the stream begins; undefined if the file is the stream's alone. */
  readonly offset: number | undefined;
}

const offsetOption = ",offset=";

/**
 * Takes a `file:` URI apart as QEMU does: the path ends at the first `,offset=`.
 *
 * @throws {CprError} ERR_CPR_FILE_URI, ERR_CPR_FILE_OFFSET
 */
export function parseFileUri({ text, rest }: TransportUri): FileLocation {
  const at = rest.indexOf(offsetOption);
  const path = at < 0 ? rest : rest.slice(0, at);
  if (path === "") {
    throw fileErrors.ERR_CPR_FILE_URI({ uri: text });
  }
  if (at < 0) {
    return { path, offset: undefined };
  }
  const offset = rest.slice(at + offsetOption.length);
  try {
    return { path, offset: parseMemorySize(offset) };
  } catch (cause) {
    throw fileErrors.ERR_CPR_FILE_OFFSET({ uri: text, offset }, { cause });
  }
}
