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

/**
 * Decodes a state by what the stream says about it: fields are found by name, an older version is upgraded step by
 * step, and the result is checked against the schema. It has no effect but its result.
 *
 * @param device - whose state it is, for the error.
 * @throws {CprError} ERR_CPR_STATE_… if the state is not one that this schema can take.
 */
export function decodeState(device: string, schema: StateSchema, encoded: EncodedState): Record<string, unknown> {
  const { version, data, description } = encoded;
  const fail = (problem: string) =>
    streamErrors.ERR_CPR_STATE_FIELDS({ device, schema: `${schema.name} version ${version}`, problem });
  if (description.vmsd_name !== schema.name) {
    throw streamErrors.ERR_CPR_STATE_KIND({ device, received: description.vmsd_name, local: schema.name });
  }
  if (description.version !== version) {
    throw fail(`is described as version ${description.version}`);
  }
  const fields = fieldsOf(device, schema, version);
  let state = decodeFields(fields, description.fields, data, fail);
  for (let from = version; from < schema.version; from++) {
    state = (schema.upgrades[from] as NonNullable<(typeof schema.upgrades)[number]>)(state);
  }
  const problem = checkFields(schema.fields, state);
  if (problem !== undefined) {
    throw streamErrors.ERR_CPR_STATE_VALUE({ device, schema: schema.name, problem });
  }
  return state;
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

function decodeFields(
  fields: Fields,
  described: readonly FieldDescription[],
  data: Uint8Array,
  fail: (problem: string) => Error,
): Record<string, unknown> {
  const expected = new Map(describeFields(fields).map((field) => [field.name, field]));
  const total = described.reduce((sum, field) => sum + describedSize(field), 0);
  if (total !== data.length) {
    throw fail(`has ${data.length} bytes, but its fields take ${total}`);
  }
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const state: Record<string, unknown> = {};
  let offset = 0;
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
    state[field.name] = (fields[field.name] as FieldType<unknown>).decode(view, offset);
    offset += describedSize(field);
  }
  const [lacking] = expected.keys();
  if (lacking !== undefined) {
    throw fail(`lacks the field '${lacking}'`);
  }
  return state;
}

/** How a described field differs from the local one, or undefined. */
function compareField(received: FieldDescription, local: FieldDescription): string | undefined {
  if (received.type !== local.type) {
    return `is a ${received.type} in the stream, but a ${local.type} here`;
  }
  if (received.size !== local.size || received.array_len !== local.array_len) {
    return `takes ${describedSize(received)} bytes in the stream, but ${describedSize(local)} here`;
  }
  if ((received.struct === undefined) !== (local.struct === undefined)) {
    return "is a struct on one side only";
  }
  return received.struct === undefined || local.struct === undefined
    ? undefined
    : compareStruct(received.struct, local.struct);
}

/** Structs inside a state are compared as they stand: changing one needs a new version of the state around it. */
function compareStruct(received: StateDescription, local: StateDescription): string | undefined {
  if (received.vmsd_name !== local.vmsd_name || received.version !== local.version) {
    return `is a struct ${received.vmsd_name} version ${received.version} in the stream, but ${local.vmsd_name} version ${local.version} here`;
  }
  if (received.fields.length !== local.fields.length) {
    return `has ${received.fields.length} fields in the stream, but ${local.fields.length} here`;
  }
  for (const [index, field] of received.fields.entries()) {
    const other = local.fields[index] as FieldDescription;
    if (field.name !== other.name) {
      return `has the field '${field.name}' where '${other.name}' is expected`;
    }
    const difference = compareField(field, other);
    if (difference !== undefined) {
      return `has the field '${field.name}', which ${difference}`;
    }
  }
  return undefined;
}
