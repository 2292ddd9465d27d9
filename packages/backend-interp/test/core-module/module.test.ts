/// <reference lib="dom" />
import { describe, expect, it } from "vitest";
import { coreModule } from "../../src/core-instance.ts";
import { buildCoreModule } from "../../src/core-module.ts";
import { operationNames } from "../../src/operations.ts";

describe.each(["i32", "i64"] as const)("the core module for RAM with %s addresses", (ramAddress) => {
  it("is valid as a whole, and the same each time", () => {
    const bytes = buildCoreModule({ ramAddress });
    expect(WebAssembly.validate(bytes)).toBe(true);
    expect(buildCoreModule({ ramAddress })).toEqual(bytes);
  });

  it("imports and exports what imports.ts says", async () => {
    const module = await coreModule(ramAddress);
    expect(WebAssembly.Module.imports(module).map(({ name }) => name)).toEqual([
      "core",
      "ram",
      "resolve",
      "helper",
      "slowLoad",
      "slowStore",
      "slowModify",
      "slowStoreBack",
      "raise",
      "checkSegment",
    ]);
    expect(WebAssembly.Module.exports(module).map(({ name }) => name)).toEqual([
      "run",
      "unfinishedInstructions",
      "readFlags",
      "flushTlb",
    ]);
    expect(await coreModule(ramAddress)).toBe(module);
  });
});

it("has few enough operations for one quick switch", () => {
  // V8 compiles a br_table of some hundreds of cases well; with 500 and more the code before optimisation becomes slow.
  expect(operationNames.length).toBeLessThan(320);
  expect(new Set(operationNames).size).toBe(operationNames.length);
});
