import type { Fields, FieldType, StateSchema } from "./schema.ts";

/** A field in the vmdescription, as QEMU writes it. */
export interface FieldDescription {
  readonly name: string;
  readonly type: string;
  /** Bytes of one element. */
  readonly size: number;
  /** For an array: the number of elements. */
  readonly array_len?: number;
  readonly struct?: StateDescription;
}

/** A state in the vmdescription: the schema without its behaviour. */
export interface StateDescription {
  readonly vmsd_name: string;
  readonly version: number;
  readonly fields: readonly FieldDescription[];
}

const descriptions = new WeakMap<StateSchema, StateDescription>();

/** The description of a schema's present version. */
export function describeSchema(schema: StateSchema): StateDescription {
  let description = descriptions.get(schema);
  if (description === undefined) {
    description = { vmsd_name: schema.name, version: schema.version, fields: describeFields(schema.fields) };
    descriptions.set(schema, description);
  }
  return description;
}

/** The descriptions of fields, in the order of the stream. */
export function describeFields(fields: Fields): readonly FieldDescription[] {
  return (Object.entries(fields) as [string, FieldType<never>][]).map(([name, field]) => ({
    name,
    ...(field.length === undefined ? {} : { array_len: field.length }),
    type: field.type,
    ...(field.struct === undefined ? {} : { struct: describeSchema(field.struct) }),
    size: field.length === undefined ? field.size : field.size / Math.max(field.length, 1),
  }));
}

/** Bytes that a described field takes in the stream. */
export function describedSize({ size, array_len }: FieldDescription): number {
  return size * (array_len ?? 1);
}

/** How deep structs may be inside each other in a stream: hostile input ends here. */
const greatestDepth = 16;

/**
 * Takes a description from a stream.
 *
 * @returns why the value is not a description, or the description.
 */
export function parseDescription(value: unknown, depth = 0): StateDescription | string {
  if (!isRecord(value)) {
    return "is not an object";
  }
  if (depth > greatestDepth) {
    return "is nested too deeply";
  }
  const { vmsd_name: name, version, fields, ...rest } = value;
  if (typeof name !== "string" || !isCount(version) || !Array.isArray(fields)) {
    return "lacks its name, version or fields";
  }
  // NOTE: such as subsections: there may be bytes of them in the stream.
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) {
    return `has the unknown key '${unknown}'`;
  }
  const result: FieldDescription[] = [];
  for (const field of fields) {
    const parsed = parseField(field, depth);
    if (typeof parsed === "string") {
      return parsed;
    }
    result.push(parsed);
  }
  return { vmsd_name: name, version, fields: result };
}

function parseField(value: unknown, depth: number): FieldDescription | string {
  if (!isRecord(value)) {
    return "has a field that is not an object";
  }
  const { name, type, size, array_len: length, struct, ...rest } = value;
  if (typeof name !== "string" || typeof type !== "string" || !isCount(size)) {
    return "has a field without name, type or size";
  }
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) {
    return `has the field '${name}' with the unknown key '${unknown}'`;
  }
  if (length !== undefined && !isCount(length)) {
    return `has the field '${name}' with a bad length`;
  }
  const nested = struct === undefined ? undefined : parseDescription(struct, depth + 1);
  if (typeof nested === "string") {
    return `has the field '${name}', whose struct ${nested}`;
  }
  return {
    name,
    type,
    size,
    ...(length === undefined ? {} : { array_len: length }),
    ...(nested === undefined ? {} : { struct: nested }),
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
