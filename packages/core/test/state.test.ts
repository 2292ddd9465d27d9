import { describe, expect, it } from "vitest";
import { array, bool, bytes, defineState, type StateSchema, struct, u8, u16, u32, u64 } from "../src/index.ts";
import { decodeState, type EncodedState, encodeState } from "../src/state/codec.ts";
import { parseDescription } from "../src/state/description.ts";
import { exampleState, exampleValues } from "./fakes/checkpoints.ts";

const encoded = encodeState("device", exampleState, exampleValues);

const change = (index: number, difference: object): EncodedState => ({
  ...encoded,
  description: {
    ...encoded.description,
    fields: encoded.description.fields.map((field, at) => (at === index ? { ...field, ...difference } : field)),
  },
});

describe("a state", () => {
  it("comes back as it was", () => {
    expect(decodeState("device", exampleState, encoded)).toEqual(exampleValues);
  });

  it("is found by the names of its fields, in whatever order they are", () => {
    const schema = defineState("s", 1, { a: u8, b: u32, c: bytes(2) });
    const reordered = defineState("s", 1, { c: bytes(2), b: u32, a: u8 });
    const values = { a: 1, b: 0x0203_0405, c: Uint8Array.of(6, 7) };
    expect(decodeState("device", schema, encodeState("device", reordered, values))).toEqual(values);
  });

  it("cannot be encoded with values that do not fit, and the device is named", () => {
    const wrong = { ...exampleValues, list: [1, 2, 65_536] };
    expect(() => encodeState("uart0", exampleState, wrong)).toThrow(
      "Device 'uart0' breaks its contract: the state example field 'list' [2] is not an unsigned 16-bit integer",
    );
    expect(() => encodeState("uart0", exampleState, { ...exampleValues, more: 1 })).toThrow(
      "has the unknown field 'more'",
    );
    const { flag: _, ...lacking } = exampleValues;
    expect(() => encodeState("uart0", exampleState, lacking)).toThrow("field 'flag' is not a truth value");
  });

  it.each<[string, EncodedState, string, RegExp]>([
    [
      "another name",
      { ...encoded, description: { ...encoded.description, vmsd_name: "other" } },
      "ERR_CPR_STATE_KIND",
      /is a 'other' in the checkpoint, but a 'example' here/,
    ],
    [
      "a newer version",
      { ...encoded, version: 4, description: { ...encoded.description, version: 4 } },
      "ERR_CPR_STATE_NEWER",
      /incoming version_id 4 is too new for local version_id 3/,
    ],
    [
      "a version that no upgrade leads from",
      { ...encoded, version: 2, description: { ...encoded.description, version: 2 } },
      "ERR_CPR_STATE_OLDER",
      /incoming version_id 2 is too old for local minimum version_id 3/,
    ],
    ["two versions", { ...encoded, version: 2 }, "ERR_CPR_STATE_FIELDS", /is described as version 3/],
    ["an unknown field", change(0, { name: "extra" }), "ERR_CPR_STATE_FIELDS", /has the unknown field 'extra'/],
    ["a field twice", change(0, { name: "number" }), "ERR_CPR_STATE_FIELDS", /field 'number'/],
    [
      "a field of another type",
      change(0, { type: "uint8" }),
      "ERR_CPR_STATE_FIELDS",
      /has the field 'flag', which is a uint8 in the stream, but a bool here/,
    ],
    ["a field of another size", change(2, { array_len: 2 }), "ERR_CPR_STATE_FIELDS", /bytes/],
    [
      "too few bytes",
      { ...encoded, data: encoded.data.subarray(1) },
      "ERR_CPR_STATE_FIELDS",
      /has 22 bytes, but its fields take 23/,
    ],
  ])("is refused with %s", (_what, state, code, message) => {
    expect(() => decodeState("device", exampleState, state)).toThrow(expect.objectContaining({ code }) as Error);
    expect(() => decodeState("device", exampleState, state)).toThrow(message);
  });

  it("is refused without one of its fields", () => {
    const small = defineState("example", 3, { flag: bool });
    const state = encodeState("device", small, { flag: true });
    expect(() => decodeState("device", exampleState, state)).toThrow("lacks the field 'number'");
  });

  describe("with states inside it", () => {
    const inner = defineState("inner", 1, { a: u8, b: u8 });
    const outer = defineState("outer", 1, { one: struct(inner), list: array(struct(inner), 2), last: u8 });
    const values = { one: { a: 1, b: 2 }, list: [3, 5].map((a) => ({ a, b: a + 1 })), last: 7 };
    /** A state around others, in which the struct is of that schema. */
    const around = (schema: StateSchema) =>
      defineState("outer", 1, { one: struct(schema), list: array(struct(schema), 2), last: u8 });
    /** Version 1 was {@link inner}; one field is wider, one has gone and one is new. */
    const innerNow = defineState(
      "inner",
      2,
      { sum: u32, a: u16 },
      { 1: { fields: inner.fields, upgrade: ({ a, b }) => ({ a, sum: (a as number) + (b as number) }) } },
    );

    it("has these found by the names of their fields", () => {
      const turned = around(defineState("inner", 1, { b: u8, a: u8 }));
      expect(decodeState("device", outer, encodeState("device", turned, values))).toEqual(values);
    });

    it("has each upgraded by its own version, while its own stays", () => {
      expect(decodeState("device", around(innerNow), encodeState("device", outer, values))).toEqual({
        one: { a: 1, sum: 3 },
        list: [
          { a: 3, sum: 7 },
          { a: 5, sum: 11 },
        ],
        last: 7,
      });
    });

    it("has them upgraded before itself, where both are older", () => {
      const outerNow = defineState(
        "outer",
        2,
        { total: u32 },
        {
          1: {
            fields: around(innerNow).fields,
            upgrade: ({ one, list }) => ({
              total: [one, ...(list as unknown[])].reduce(
                (sum: number, each) => sum + (each as { sum: number }).sum,
                0,
              ),
            }),
          },
        },
      );
      expect(decodeState("device", outerNow, encodeState("device", outer, values))).toEqual({ total: 21 });
    });

    it("is refused with one that is newer, of another kind, or has other fields than its version", () => {
      const wide = { one: { a: 1, sum: 3 }, list: [], last: 7 };
      const newer = encodeState("device", around(innerNow), { ...wide, list: [wide.one, wide.one] });
      expect(() => decodeState("device", outer, newer)).toThrow(
        "inner: incoming version_id 2 is too new for local version_id 1",
      );
      const other = around(defineState("other", 1, inner.fields));
      expect(() => decodeState("device", outer, encodeState("device", other, values))).toThrow(
        "the state outer version 1 has the field 'one', which is a struct other in the stream, but inner here",
      );
      const { b: _, ...lacking } = inner.fields;
      const small = around(defineState("inner", 1, lacking));
      const few = { one: { a: 1 }, list: [{ a: 1 }, { a: 1 }], last: 7 };
      expect(() => decodeState("device", outer, encodeState("device", small, few))).toThrow(
        "the state inner version 1 lacks the field 'b'",
      );
    });

    it("is refused if one does not have the size that its fields have", () => {
      const { description, ...rest } = encodeState("device", outer, values);
      // Two bytes of the first are said to be the last field's neighbour's: all together are as many as they are.
      const fields = description.fields.map((field) =>
        field.name === "one" ? { ...field, size: 1 } : field.name === "list" ? { ...field, size: 2.5 } : field,
      );
      expect(() => decodeState("device", outer, { ...rest, description: { ...description, fields } })).toThrow(
        "the state inner version 1 has 1 bytes, but its fields take 2",
      );
    });
  });

  it("of an older version is upgraded step by step", () => {
    const first = { count: u8 };
    const second = { count: u16, flag: bool };
    const old = defineState("s", 1, first);
    const present = defineState(
      "s",
      3,
      { count: u64, flag: bool, list: array(u8, 2) },
      {
        1: { fields: first, upgrade: (state) => ({ ...state, flag: true }) },
        2: {
          fields: second,
          upgrade: (state) => ({ ...state, count: BigInt(state["count"] as number), list: [0, 0] }),
        },
      },
    );
    expect(decodeState("device", present, encodeState("device", old, { count: 5 }))).toEqual({
      count: 5n,
      flag: true,
      list: [0, 0],
    });
  });

  it("of an older version whose upgrade makes nonsense is refused", () => {
    const first = { count: u8 };
    const present = defineState("s", 2, { count: bool }, { 1: { fields: first, upgrade: (state) => ({ ...state }) } });
    expect(() =>
      decodeState("device", present, encodeState("device", defineState("s", 1, first), { count: 5 })),
    ).toThrow(expect.objectContaining({ code: "ERR_CPR_STATE_VALUE" }) as Error);
  });
});

describe("a description from a stream", () => {
  it.each([
    ["nothing", undefined],
    ["a list", []],
    ["no fields", { vmsd_name: "a", version: 1 }],
    ["a version that is a text", { vmsd_name: "a", version: "1", fields: [] }],
    ["a field that is a number", { vmsd_name: "a", version: 1, fields: [1] }],
    ["a negative size", { vmsd_name: "a", version: 1, fields: [{ name: "b", type: "uint8", size: -1 }] }],
    ["a size that is no integer", { vmsd_name: "a", version: 1, fields: [{ name: "b", type: "uint8", size: 1.5 }] }],
    [
      "a broken length",
      { vmsd_name: "a", version: 1, fields: [{ name: "b", type: "uint8", size: 1, array_len: "x" }] },
    ],
    ["a broken struct", { vmsd_name: "a", version: 1, fields: [{ name: "b", type: "struct", size: 1, struct: 1 }] }],
  ])("is refused with %s", (_what, value) => {
    expect(parseDescription(value)).toBeTypeOf("string");
  });

  it("is refused when it is nested so deeply that reading it could exhaust the stack", () => {
    let value: object = { vmsd_name: "a", version: 1, fields: [] };
    for (let depth = 0; depth < 20_000; depth++) {
      value = { vmsd_name: "a", version: 1, fields: [{ name: "b", type: "struct", size: 0, struct: value }] };
    }
    expect(parseDescription(value)).toContain("is nested too deeply");
  });
});
