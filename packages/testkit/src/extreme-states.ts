import type { Fields, FieldType } from "@cpr/core";

type State = Readonly<Record<string, unknown>>;

/** States that differ from a good one in one field, which has a value at the end of its type's range. */
export function* extremeStates(fields: Fields, good: State): Generator<readonly [string, State]> {
  for (const [name, field] of Object.entries(fields)) {
    for (const [label, value] of extremeValues(field as FieldType<unknown>, good[name])) {
      yield [`${name} = ${label}`, { ...good, [name]: value }];
    }
  }
}

function* extremeValues(field: FieldType<unknown>, good: unknown): Generator<readonly [string, unknown]> {
  for (const byte of [0x00, 0x01, 0x7f, 0x80, 0xff]) {
    const view = new DataView(new Uint8Array(field.size).fill(byte).buffer);
    const value = field.decode(view, 0);
    if (field.check(value) === undefined) {
      yield [`bytes of 0x${byte.toString(16)}`, value];
    }
  }
  if (field.struct !== undefined && field.length === undefined) {
    for (const [name, inner] of extremeStates(field.struct.fields, good as State)) {
      yield [name, inner];
    }
  }
}
