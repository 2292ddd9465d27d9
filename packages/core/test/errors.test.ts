import { describe, expect, it } from "vitest";
import {
  CprError,
  defineError,
  defineErrors,
  deserializeError,
  isCprError,
  machineErrors,
  memoryErrors,
  migrationErrors,
  pluginErrors,
  serializeError,
  streamErrors,
} from "../src/index.ts";

const errors = defineErrors({
  ERR_CPR_EXAMPLE: defineError<{ path: string }>({
    category: "input",
    when: "An example.",
    message: ({ path }) => `no '${path}'`,
    hint: ({ path }) => `make '${path}'`,
  }),
});

describe("errors", () => {
  it("have a code, a category, facts, a sentence and a hint", () => {
    const cause = new Error("why");
    const error = errors.ERR_CPR_EXAMPLE({ path: "x" }, { cause });
    expect(error).toMatchObject({
      name: "CprError",
      code: "ERR_CPR_EXAMPLE",
      category: "input",
      message: "no 'x'",
      hint: "make 'x'",
      details: { path: "x" },
      cause,
    });
    expect(isCprError(error)).toBe(true);
  });

  it("are known when another copy of the package made them, and nothing else is", () => {
    const foreign = { [Symbol.for("cpr.error")]: true, code: "ERR_CPR_EXAMPLE" };
    expect(isCprError(foreign)).toBe(true);
    for (const value of [new Error("x"), undefined, null, 1, "ERR_CPR_EXAMPLE", {}]) {
      expect(isCprError(value)).toBe(false);
    }
  });

  it("cross a thread boundary", () => {
    const error = errors.ERR_CPR_EXAMPLE({ path: "x" });
    const copy = deserializeError(structuredClone(serializeError(error)));
    expect(copy).toBeInstanceOf(CprError);
    expect(copy).toMatchObject({ code: error.code, message: error.message, hint: error.hint, details: error.details });
    expect(copy.stack).toBe(error.stack);
    expect(deserializeError(structuredClone(serializeError(new RangeError("odd"))))).toMatchObject({
      code: "ERR_CPR_INTERNAL",
      category: "internal",
      message: "odd",
    });
    expect(serializeError("text").message).toBe("text");
  });

  it("cross a thread boundary even if their details cannot be copied", () => {
    const error = new CprError("ERR_CPR_ODD", "input", "odd", { details: { path: "x", call: () => 1 } });
    const copy = deserializeError(structuredClone(serializeError(error)));
    expect(copy).toMatchObject({ code: "ERR_CPR_ODD", message: "odd", details: { path: "x" } });
  });

  it("have codes that no other table uses", () => {
    const tables = [machineErrors, memoryErrors, migrationErrors, pluginErrors, streamErrors];
    const codes = tables.flatMap(({ definitions }) => Object.keys(definitions));
    expect(new Set(codes).size).toBe(codes.length);
    for (const code of codes) {
      expect(code).toMatch(/^ERR_CPR_[A-Z0-9_]+$/);
    }
  });
});
