import { memoryErrors } from "./errors/memory-errors.ts";
import type { MemoryObjectOptions } from "./memory-provider.ts";
import { parseMemorySize } from "./memory-size.ts";
import { readOptionList } from "./option-list.ts";

type PropertyKind = "text" | "size" | "switch";
type PropertyName = Exclude<keyof MemoryObjectOptions, "type">;

const properties: Readonly<Record<PropertyName, PropertyKind>> = {
  id: "text",
  size: "size",
  share: "switch",
  "mem-path": "text",
  align: "size",
  prealloc: "switch",
  hugetlb: "switch",
  hugetlbsize: "size",
  pmem: "switch",
  readonly: "switch",
};

const common = ["id", "size", "share", "prealloc"] as const;

/** The object types that there are, and which properties each has. */
const objectTypes: Readonly<Record<string, readonly PropertyName[]>> = {
  "memory-backend-ram": common,
  "memory-backend-memfd": [...common, "hugetlb", "hugetlbsize"],
  "memory-backend-shm": common,
  "memory-backend-file": [...common, "mem-path", "align", "pmem", "readonly"],
};

const required: Readonly<Record<string, readonly PropertyName[]>> = {
  "memory-backend-file": ["id", "size", "mem-path"],
};

/**
 * Reads what follows `-object`: `TYPE,id=ID,KEY=VALUE,…` with `,,` for a comma in a value, or a JSON object with the
 * type under `qom-type` (QEMU's manual page, "Generic object creation"). Sizes take QEMU's suffixes, see
 * {@link parseMemorySize}; switches are `on`, `off`, `yes`, `no`, `true`, `false`, `y`, `n`.
 *
 * Only the form is checked here: whether a size suits a file is the memory provider's affair.
 *
 * @throws {CprError} ERR_CPR_OBJECT_SYNTAX, ERR_CPR_OBJECT_TYPE, ERR_CPR_OBJECT_PROPERTY,
 * ERR_CPR_OBJECT_PROPERTY_MISSING, ERR_CPR_OBJECT_VALUE
 */
export function parseMemoryObject(text: string): MemoryObjectOptions {
  const given: ReadonlyMap<string, unknown> = text.trimStart().startsWith("{")
    ? fromJson(text)
    : readOptionList(text, "qom-type", syntaxError(text));
  const type = given.get("qom-type");
  if (type === undefined || type === "") {
    throw syntaxError(text)("Parameter 'qom-type' is missing");
  }
  const known = typeof type === "string" && Object.hasOwn(objectTypes, type) ? objectTypes[type] : undefined;
  if (known === undefined) {
    throw memoryErrors.ERR_CPR_OBJECT_TYPE({ type: String(type), known: Object.keys(objectTypes) });
  }
  const options: Record<string, unknown> = { type };
  for (const [property, value] of given) {
    if (property !== "qom-type") {
      if (!(known as readonly string[]).includes(property)) {
        throw memoryErrors.ERR_CPR_OBJECT_PROPERTY({ type: String(type), property, known });
      }
      options[property] = parseValue(property as PropertyName, value);
    }
  }
  for (const property of required[String(type)] ?? (["id", "size"] as const)) {
    if (options[property] === undefined) {
      throw memoryErrors.ERR_CPR_OBJECT_PROPERTY_MISSING({ type: String(type), property });
    }
  }
  return options as unknown as MemoryObjectOptions;
}

const syntaxError =
  (text: string) =>
  (reason: string): Error =>
    memoryErrors.ERR_CPR_OBJECT_SYNTAX({ text, reason });

function fromJson(text: string): ReadonlyMap<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw memoryErrors.ERR_CPR_OBJECT_SYNTAX({ text, reason: "JSON parse error" }, { cause });
  }
  return new Map(Object.entries(value as Record<string, unknown>));
}

function parseValue(property: PropertyName, value: unknown): unknown {
  const wrong = (expected: string, cause?: unknown) =>
    memoryErrors.ERR_CPR_OBJECT_VALUE({ property, value: String(value), expected }, { cause });
  switch (properties[property]) {
    case "text":
      if (typeof value !== "string" || value === "") {
        throw wrong("a text that is not empty");
      }
      return value;
    case "switch":
      if (typeof value === "boolean") {
        return value;
      }
      if (value === "on" || value === "yes" || value === "true" || value === "y") {
        return true;
      }
      if (value === "off" || value === "no" || value === "false" || value === "n") {
        return false;
      }
      throw wrong("'on' or 'off'");
    case "size":
      if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) {
        return value;
      }
      try {
        return parseMemorySize(typeof value === "string" ? value : "");
      } catch (cause) {
        throw wrong("a number of bytes, or a number with a suffix: 512M, 1.5G", cause);
      }
  }
}
