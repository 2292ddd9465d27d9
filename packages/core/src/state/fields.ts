import type { Fields, FieldType, StateSchema, ValuesOf } from "./schema.ts";

function unsigned(type: string, size: 1 | 2 | 4): FieldType<number> {
  const limit = 2 ** (8 * size);
  return {
    type,
    size,
    check: (value) =>
      typeof value === "number" && Number.isInteger(value) && value >= 0 && value < limit
        ? undefined
        : `is not an unsigned ${8 * size}-bit integer`,
    encode: (view, offset, value) => {
      if (size === 1) view.setUint8(offset, value);
      else if (size === 2) view.setUint16(offset, value);
      else view.setUint32(offset, value);
    },
    decode: (view, offset) =>
      size === 1 ? view.getUint8(offset) : size === 2 ? view.getUint16(offset) : view.getUint32(offset),
  };
}

/** An unsigned 8-bit integer. */
export const u8: FieldType<number> = unsigned("uint8", 1);
/** An unsigned 16-bit integer. */
export const u16: FieldType<number> = unsigned("uint16", 2);
/** An unsigned 32-bit integer. */
export const u32: FieldType<number> = unsigned("uint32", 4);

/** An unsigned 64-bit integer, a bigint. */
export const u64: FieldType<bigint> = {
  type: "uint64",
  size: 8,
  check: (value) =>
    typeof value === "bigint" && value >= 0n && value < 1n << 64n ? undefined : "is not an unsigned 64-bit integer",
  encode: (view, offset, value) => view.setBigUint64(offset, value),
  decode: (view, offset) => view.getBigUint64(offset),
};

/** A signed 64-bit integer, a bigint. */
export const i64: FieldType<bigint> = {
  type: "int64",
  size: 8,
  check: (value) =>
    typeof value === "bigint" && value >= -(1n << 63n) && value < 1n << 63n
      ? undefined
      : "is not a signed 64-bit integer",
  encode: (view, offset, value) => view.setBigInt64(offset, value),
  decode: (view, offset) => view.getBigInt64(offset),
};

/** A truth value, one byte, 0 or 1. */
export const bool: FieldType<boolean> = {
  type: "bool",
  size: 1,
  check: (value) => (typeof value === "boolean" ? undefined : "is not a truth value"),
  encode: (view, offset, value) => view.setUint8(offset, value ? 1 : 0),
  decode: (view, offset) => view.getUint8(offset) !== 0,
};

/** Exactly `length` bytes. */
export function bytes(length: number): FieldType<Uint8Array> {
  return {
    type: "buffer",
    size: length,
    check: (value) =>
      value instanceof Uint8Array && value.length === length ? undefined : `is not a buffer of ${length} bytes`,
    encode: (view, offset, value) => new Uint8Array(view.buffer, view.byteOffset + offset, length).set(value),
    decode: (view, offset) => new Uint8Array(view.buffer, view.byteOffset + offset, length).slice(),
  };
}

/** Exactly `length` elements of one type. */
export function array<T>(element: FieldType<T>, length: number): FieldType<T[]> {
  return {
    type: element.type,
    size: element.size * length,
    length,
    ...(element.struct === undefined ? {} : { struct: element.struct }),
    check: (value) => {
      if (!Array.isArray(value) || value.length !== length) {
        return `is not an array of ${length}`;
      }
      for (const [index, each] of value.entries()) {
        const problem = element.check(each);
        if (problem !== undefined) return `[${index}] ${problem}`;
      }
      return undefined;
    },
    encode: (view, offset, value) =>
      value.forEach((each, index) => {
        element.encode(view, offset + index * element.size, each);
      }),
    decode: (view, offset) => Array.from({ length }, (_, index) => element.decode(view, offset + index * element.size)),
  };
}

/** A state inside another one. */
export function struct<F extends Fields>(schema: StateSchema<F>): FieldType<ValuesOf<F>> {
  const entries = Object.entries(schema.fields) as [string, FieldType<unknown>][];
  return {
    type: "struct",
    size: schema.size,
    struct: schema,
    check: (value) => checkFields(schema.fields, value),
    encode: (view, offset, value) => {
      let at = offset;
      for (const [name, field] of entries) {
        field.encode(view, at, (value as Record<string, unknown>)[name]);
        at += field.size;
      }
    },
    decode: (view, offset) => {
      const result: Record<string, unknown> = {};
      let at = offset;
      for (const [name, field] of entries) {
        result[name] = field.decode(view, at);
        at += field.size;
      }
      return result as ValuesOf<F>;
    },
  };
}

/** Why a value is not a state with exactly these fields, or undefined if it is one. */
export function checkFields(fields: Fields, value: unknown): string | undefined {
  if (typeof value !== "object" || value === null) {
    return "is not a state";
  }
  const state = value as Record<string, unknown>;
  for (const name of Object.keys(state)) {
    if (!Object.hasOwn(fields, name)) return `has the unknown field '${name}'`;
  }
  for (const [name, field] of Object.entries(fields)) {
    const problem = field.check(state[name]);
    if (problem !== undefined) return `field '${name}' ${problem}`;
  }
  return undefined;
}
