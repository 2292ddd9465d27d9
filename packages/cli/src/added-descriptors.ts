import { fstatSync } from "node:fs";
import { DescriptorRegistry } from "@cpr/core";
import { cliErrors } from "./cli-errors.ts";

/**
 * Reads `-add-fd fd=N,set=M[,opaque=TEXT]`, which puts descriptors that the process was started with into sets.
 *
 * @throws {CprError} ERR_CPR_ADD_FD
 */
export function addedDescriptors(texts: readonly string[]): DescriptorRegistry {
  const registry = new DescriptorRegistry();
  const seen = new Set<number>();
  for (const text of texts) {
    const properties = new Map(text.split(",").map((each) => splitOnce(each)));
    const fail = (problem: string) => cliErrors.ERR_CPR_ADD_FD({ value: text, problem });
    const descriptor = numberOf(properties.get("fd"));
    if (descriptor === undefined) {
      throw fail("fd option is required and must be non-negative");
    }
    if (descriptor <= 2) {
      throw fail("fd cannot be a standard I/O stream");
    }
    if (seen.has(descriptor) || !isFile(descriptor)) {
      throw fail("fd is not valid or already in use");
    }
    const set = numberOf(properties.get("set"));
    if (set === undefined) {
      throw fail("set option is required and must be non-negative");
    }
    const unknown = [...properties.keys()].find((key) => !["fd", "set", "opaque"].includes(key));
    if (unknown !== undefined) {
      throw fail(`Invalid parameter '${unknown}'`);
    }
    seen.add(descriptor);
    registry.add(descriptor, set, properties.get("opaque"));
  }
  return registry;
}

function splitOnce(text: string): [string, string] {
  const at = text.indexOf("=");
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

function numberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

/**
 * Whether a descriptor can be one that was handed over. The process has others for itself, which are no files; QEMU tells
 * by FD_CLOEXEC, which Node sets on all that it finds at its start.
 */
function isFile(descriptor: number): boolean {
  try {
    const kind = fstatSync(descriptor);
    return kind.isFile() || kind.isBlockDevice() || kind.isCharacterDevice();
  } catch {
    return false;
  }
}
