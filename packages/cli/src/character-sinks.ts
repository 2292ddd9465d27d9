import { closeSync, openSync, writeSync } from "node:fs";
import type { CharacterSink } from "@cpr/core";
import { cliErrors } from "./cli-errors.ts";

/** What `-serial` can name. */
export type SerialTarget =
  | { readonly kind: "stdio"; readonly withMonitor: boolean }
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "null" };

/**
 * Takes a `-serial` value apart.
 *
 * @throws {CprError} ERR_CPR_OPTION_VALUE
 */
export function parseSerial(text: string): SerialTarget {
  if (text === "stdio" || text === "mon:stdio") {
    return { kind: "stdio", withMonitor: text === "mon:stdio" };
  }
  if (text === "null" || text === "none") {
    return { kind: "null" };
  }
  if (text.startsWith("file:") && text.length > "file:".length) {
    return { kind: "file", path: text.slice("file:".length) };
  }
  throw cliErrors.ERR_CPR_OPTION_VALUE({
    option: "serial",
    value: text,
    expected: "stdio, mon:stdio, file:PATH, null or none",
  });
}

/** Opens what takes the output of a serial port. */
export function openSink(target: SerialTarget): CharacterSink {
  switch (target.kind) {
    case "file":
      return fileSink(target.path);
    case "stdio":
      return { write: (bytes) => process.stdout.write(bytes) };
    case "null":
      return nullSink;
  }
}

/** Appends guest output to a file that is emptied first, as QEMU's file chardev does. */
function fileSink(path: string): CharacterSink {
  let descriptor: number;
  try {
    descriptor = openSync(path, "w", 0o644);
  } catch (cause) {
    throw cliErrors.ERR_CPR_OUTPUT_FILE({ path, reason: (cause as NodeJS.ErrnoException).code ?? "error" }, { cause });
  }
  return {
    write: (bytes) => {
      for (let at = 0; at < bytes.length; ) {
        at += writeSync(descriptor, bytes, at);
      }
    },
    close: async () => closeSync(descriptor),
  };
}

/** Drops guest output. */
export const nullSink: CharacterSink = { write: () => undefined };
