import { streamErrors } from "../errors/stream-errors.ts";
import {
  describedSize,
  describeFields,
  describeSchema,
  type FieldDescription,
  type StateDescription,
} from "./description.ts";
import { checkFields } from "./fields.ts";
import type { Fields, FieldType, StateSchema } from "./schema.ts";

/** A state as it lies in the stream, with what describes it. */
export interface EncodedState {
  readonly version: number;
  readonly data: Uint8Array;
  readonly description: StateDescription;
}

/**
 * Encodes a state by its schema.
 *
 * @param device - whose state it is, for the error.
 * @throws {CprError} ERR_CPR_STATE_SAVED if the values do not fit the schema.
 */
export function encodeState(
  device: string,
  schema: StateSchema,
  state: Readonly<Record<string, unknown>>,
): EncodedState {
  const problem = checkFields(schema.fields, state);
  if (problem !== undefined) {
    throw streamErrors.ERR_CPR_STATE_SAVED({ device, schema: schema.name, problem });
  }
  const data = new Uint8Array(schema.size);
  const view = new DataView(data.buffer);
  let offset = 0;
  for (const [name, field] of Object.entries(schema.fields) as [string, FieldType<unknown>][]) {
    field.encode(view, offset, state[name]);
    offset += field.size;
  }
  return { version: schema.version, data, description: describeSchema(schema) };
}

/** Where a state is decoded from, and whose it is, for errors. */
interface DecodeContext {
  readonly device: string;
  readonly view: DataView;
}

/**
 * Decodes a state by what the stream says about it: fields are found by name, an older version is upgraded step by
 * step, so are states inside it each by their own version, and the result is checked against the schema. It has no effect but its result.
 *
 * @param device - whose state it is, for the error.
 * @throws {CprError} ERR_CPR_STATE_… if the state is not one that this schema can take.
 */
export function decodeState(device: string, schema: StateSchema, encoded: EncodedState): Record<string, unknown> {
  const { version, data, description } = encoded;
  if (description.vmsd_name !== schema.name) {
    throw streamErrors.ERR_CPR_STATE_KIND({ device, received: description.vmsd_name, local: schema.name });
  }
  if (description.version !== version) {
    throw fieldsError(device, schema, version)(`is described as version ${description.version}`);
  }
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const state = decodeStruct({ device, view }, schema, description, 0, data.length);
  const problem = checkFields(schema.fields, state);
  if (problem !== undefined) {
    throw streamErrors.ERR_CPR_STATE_VALUE({ device, schema: schema.name, problem });
  }
  return state;
}

/** Decodes what a description says is at an offset, and upgrades it to the present version of its schema. */
function decodeStruct(
  context: DecodeContext,
  schema: StateSchema,
  { version, fields: described }: StateDescription,
  start: number,
  size: number,
): Record<string, unknown> {
  const { device, view } = context;
  const fail = fieldsError(device, schema, version);
  const fields = fieldsOf(device, schema, version);
  const expected = new Map(describeFields(fields).map((field) => [field.name, field]));
  const total = described.reduce((sum, field) => sum + describedSize(field), 0);
  if (total !== size) {
    throw fail(`has ${size} bytes, but its fields take ${total}`);
  }
  let state: Record<string, unknown> = {};
  let offset = start;
  for (const field of described) {
    const local = expected.get(field.name);
    if (local === undefined) {
      throw fail(`has the unknown field '${field.name}'`);
    }
    const difference = compareField(field, local);
    if (difference !== undefined) {
      throw fail(`has the field '${field.name}', which ${difference}`);
    }
    expected.delete(field.name);
    const type = fields[field.name] as FieldType<unknown>;
    state[field.name] =
      field.struct === undefined ? type.decode(view, offset) : decodeStructs(context, type, field, offset);
    offset += describedSize(field);
  }
  const [lacking] = expected.keys();
  if (lacking !== undefined) {
    throw fail(`lacks the field '${lacking}'`);
  }
  for (let from = version; from < schema.version; from++) {
    state = (schema.upgrades[from] as NonNullable<(typeof schema.upgrades)[number]>)(state);
  }
  return state;
}

/** Decodes a field that is a state itself, or an array of such. */
function decodeStructs(
  context: DecodeContext,
  type: FieldType<unknown>,
  field: FieldDescription,
  offset: number,
): unknown {
  const { struct, size, array_len: length } = field as FieldDescription & { readonly struct: StateDescription };
  const decodeAt = (index: number) =>
    decodeStruct(context, type.struct as StateSchema, struct, offset + index * size, size);
  return length === undefined ? decodeAt(0) : Array.from({ length }, (_, index) => decodeAt(index));
}

/** Makes errors of the fields of a version of a state. */
function fieldsError(device: string, schema: StateSchema, version: number): (problem: string) => Error {
  return (problem) =>
    streamErrors.ERR_CPR_STATE_FIELDS({ device, schema: `${schema.name} version ${version}`, problem });
}

/** The fields of a version from which upgrades lead to the present one. */
function fieldsOf(device: string, schema: StateSchema, version: number): Fields {
  if (version === schema.version) {
    return schema.fields;
  }
  const details = { device, schema: schema.name, version };
  if (version > schema.version) {
    throw streamErrors.ERR_CPR_STATE_NEWER({ ...details, local: schema.version });
  }
  let oldest = schema.version;
  while (oldest > version && schema.upgrades[oldest - 1] !== undefined) {
    oldest -= 1;
  }
  const fields = schema.olderFields[version];
  if (oldest > version || fields === undefined) {
    throw streamErrors.ERR_CPR_STATE_OLDER({ ...details, local: oldest });
  }
  return fields;
}

/** How a described field differs from the local one, or undefined. A state inside it may have another version and other fields. */
function compareField(received: FieldDescription, local: FieldDescription): string | undefined {
  if (received.type !== local.type) {
    return `is a ${received.type} in the stream, but a ${local.type} here`;
  }
  if ((received.struct === undefined) !== (local.struct === undefined)) {
    return "is a struct on one side only";
  }
  if (received.struct?.vmsd_name !== local.struct?.vmsd_name) {
    return `is a struct ${received.struct?.vmsd_name} in the stream, but ${local.struct?.vmsd_name} here`;
  }
  if (received.array_len !== local.array_len) {
    return `has ${received.array_len ?? 1} elements in the stream, but ${local.array_len ?? 1} here`;
  }
  return received.struct === undefined && received.size !== local.size
    ? `takes ${describedSize(received)} bytes in the stream, but ${describedSize(local)} here`
    : undefined;
}
