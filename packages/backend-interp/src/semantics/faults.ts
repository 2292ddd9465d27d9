import { currentOperationAt } from "../layout.ts";
import { call, type I32, i32, type Memory, type Statement } from "../wasm/index.ts";
import type { Runtime } from "./scope.ts";

/** Notes which operation executes: before everything that can fault, and before TypeScript is called. */
export function storeCurrentOperation(core: Memory<"i32">, operation: I32): Statement {
  return i32.store(core, i32.const(0), operation, currentOperationAt);
}

/** Raises a fault of the operation; `errorCode` is -1 if the vector has none. The import throws: nothing after it executes. */
export function raiseFault(
  { core, raise, operation }: Pick<Runtime, "core" | "raise"> & { readonly operation: I32 },
  vector: number,
  errorCode: number,
): Statement[] {
  return [storeCurrentOperation(core, operation), call(raise, i32.const(vector), i32.const(errorCode))];
}
