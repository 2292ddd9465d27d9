/** How one field of a device's state looks in the migration stream and in its vmdescription. All integers big-endian. */
export interface FieldType<T> {
  /** The type's name in QEMU's vmdescription: `uint8` … `uint64`, `bool`, `buffer`, `struct`. */
  readonly type: string;
  /** Size in bytes in the stream. Always fixed: a bound is part of the type, so hostile input fails here. */
  readonly size: number;
  /** For an array: how many elements, each `size / length` bytes long. */
  readonly length?: number;
  /** For a struct, or an array of structs: the schema of one. */
  readonly struct?: StateSchema;
  /** Why the value is not one of this type, or undefined if it is. */
  check(value: unknown): string | undefined;
  /** Writes a checked value. */
  encode(view: DataView, offset: number, value: T): void;
  /** Reads a value. It may return one that {@link check} refuses. */
  decode(view: DataView, offset: number): T;
}

/** The fields of a state, in the order of the stream. */
// biome-ignore lint/suspicious/noExplicitAny: a field type both takes and gives its values, so only any fits all
export type Fields = Readonly<Record<string, FieldType<any>>>;

/** The state that fields describe. */
export type ValuesOf<F extends Fields> = { -readonly [K in keyof F]: F[K] extends FieldType<infer T> ? T : never };

/** Turns the state of version n into that of version n+1. Pure. */
export type Upgrade = (state: Readonly<Record<string, unknown>>) => Record<string, unknown>;

/** A description of a state: name, version, fields, and how older versions become the present one. */
export interface StateSchema<F extends Fields = Fields> {
  /** What QEMU calls the vmsd name, e.g. `uart-16550`. */
  readonly name: string;
  readonly version: number;
  readonly fields: F;
  readonly size: number;
  /** `upgrades[n]` turns version n into version n+1. Loading a version without a path to the present one is refused. */
  readonly upgrades: Readonly<Record<number, Upgrade>>;
  /** For each older version that can be loaded, its fields. */
  readonly olderFields: Readonly<Record<number, Fields>>;
}

/** The state that a schema describes. */
export type StateOf<S extends StateSchema> = ValuesOf<S["fields"]>;

/**
 * Describes the state of a device as the guest can observe it; not the layout of the class that implements it.
 *
 * Changing the fields of a released version needs a new version, the old fields in `older` and an upgrade. The version of a state around
 * it stays: a state inside another one is upgraded by itself.
 *
 * @example
 * ```ts
 * export const uartState = defineState("uart-16550", 1, { interruptEnable: u8, divisor: u16, receiveFifo: bytes(16) });
 * export type UartState = StateOf<typeof uartState>;
 * ```
 */
export function defineState<const F extends Fields>(
  name: string,
  version: number,
  fields: F,
  older: Readonly<Record<number, { readonly fields: Fields; readonly upgrade: Upgrade }>> = {},
): StateSchema<F> {
  const entries = Object.entries(older);
  return {
    name,
    version,
    fields,
    size: sizeOf(fields),
    upgrades: Object.fromEntries(entries.map(([from, { upgrade }]) => [from, upgrade])),
    olderFields: Object.fromEntries(entries.map(([from, each]) => [from, each.fields])),
  };
}

/** Bytes that fields take in the stream. */
export function sizeOf(fields: Fields): number {
  return Object.values(fields).reduce((sum, field) => sum + field.size, 0);
}
