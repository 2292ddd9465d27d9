import { machineErrors } from "./errors/machine-errors.ts";
import type { MemoryObjectOptions } from "./memory-provider.ts";
import { parseMemorySize } from "./memory-size.ts";

type PropertyKind = "text" | "size" | "truth";

/** The properties that a memory object may have, and what each is. */
const properties: Readonly<Record<string, PropertyKind>> = {
  id: "text",
  size: "size",
  share: "truth",
  "mem-path": "text",
  align: "size",
  prealloc: "truth",
  hugetlb: "truth",
  hugetlbsize: "size",
  pmem: "truth",
  readonly: "truth",
};

/**
 * Reads the value of an `-object memory-backend-…` option as QEMU does: a type and `key=value` pairs, separated by
 * commas; a comma inside a value is written twice. Whether a provider serves the object is not checked.
 *
 * @throws {CprError} ERR_CPR_MEMORY_OBJECT
 */
export function parseMemoryObject(text: string): MemoryObjectOptions {
  const refuse = (problem: string, cause?: unknown) =>
    machineErrors.ERR_CPR_MEMORY_OBJECT({ text, problem }, { cause });
  const [type = "", ...pairs] = splitOptions(text);
  if (!/^memory-backend-[a-z0-9-]+$/.test(type)) {
    throw refuse(`'${type}' is no type of a memory object`);
  }
  const values: Record<string, string | number | boolean> = {};
  for (const pair of pairs) {
    const equals = pair.indexOf("=");
    // As in QEMU, a key without a value is on.
    const key = equals < 0 ? pair : pair.slice(0, equals);
    const value = equals < 0 ? "on" : pair.slice(equals + 1);
    const kind = Object.hasOwn(properties, key) ? properties[key] : undefined;
    if (kind === undefined) {
      throw refuse(`Property '${type}.${key}' not found`);
    }
    if (Object.hasOwn(values, key)) {
      throw refuse(`property '${key}' is given twice`);
    }
    try {
      values[key] = kind === "text" ? value : kind === "size" ? parseMemorySize(value) : parseTruth(value);
    } catch (error) {
      throw refuse(`Parameter '${key}' expects ${kind === "size" ? "a size, e.g. 1G" : "'on' or 'off'"}`, error);
    }
  }
  if (values["id"] === undefined || values["id"] === "") {
    throw refuse("Parameter 'id' is missing");
  }
  if (values["size"] === undefined) {
    throw refuse("Parameter 'size' is missing");
  }
  return { type, ...values } as unknown as MemoryObjectOptions;
}

/** Cuts at single commas; a double comma is one comma of the text. */
function splitOptions(text: string): readonly string[] {
  return text
    .replaceAll(",,", "\u0000")
    .split(",")
    .map((part) => part.replaceAll("\u0000", ","));
}

function parseTruth(value: string): boolean {
  if (["on", "yes", "true", "y"].includes(value)) {
    return true;
  }
  if (["off", "no", "false", "n"].includes(value)) {
    return false;
  }
  throw new RangeError(`'${value}' is not a truth value`);
}
