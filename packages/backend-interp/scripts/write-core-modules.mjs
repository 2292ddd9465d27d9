/**
 * Writes dist/core-i32.wasm and dist/core-i64.wasm, the modules that `buildCoreModule` makes, so that the start of a
 * virtual machine does not pay for making them. Runs from `tools/bundle.ts`.
 */
import { writeFileSync } from "node:fs";
import { buildCoreModule } from "../dist/core-module.js";

for (const ramAddress of ["i32", "i64"]) {
  writeFileSync(new URL(`../dist/core-${ramAddress}.wasm`, import.meta.url), buildCoreModule({ ramAddress }));
}
