import type { OperationName } from "../operations.ts";
import type { FunctionReference, I32, I64, Local, Memory, ModuleBuilder, Statement } from "../wasm/index.ts";
import { Flags } from "./flags.ts";
import { defineMathFunctions, type MathFunctions } from "./math-functions.ts";
import type { Operand } from "./operand.ts";

/** What the semantics of integer operations need of the module around them. */
export interface Runtime {
  /** Memory 0, see layout.ts. */
  readonly core: Memory<"i32">;
  readonly flags: Flags;
  readonly math: MathFunctions;
  /** Import: raises a fault, given vector and error code (-1: none). The current operation must have been stored. */
  readonly raise: FunctionReference<readonly ["i32", "i32"], "none">;
}

/** Defines the functions that semantics call. */
export function defineRuntime(module: ModuleBuilder, core: Memory<"i32">, raise: Runtime["raise"]): Runtime {
  return { core, raise, flags: new Flags(module, core), math: defineMathFunctions(module, core) };
}

/**
 * Where an operation's operands are, and temporaries: all that semantics know of what executes them. The interpreter gives
 * fields of the record; a translator can give constants and locals.
 */
export interface Scope extends Runtime {
  readonly destination: Operand;
  readonly source: Operand;
  /** The slot that the base field points to. */
  readonly base: Operand;
  readonly immediate: I64;
  /** Sign-extended. */
  readonly displacement: I64;
  readonly auxiliary: I32;
  /** The address of the operation, to be stored as the current one before what can fault. */
  readonly operation: I32;
  /** Temporaries: undefined at the beginning of each operation. */
  readonly x: Local<"i64">;
  readonly y: Local<"i64">;
  readonly z: Local<"i64">;
  readonly count: Local<"i64">;
  readonly bits: Local<"i32">;
}

/** How operations execute: statements in a scope. */
export type Semantics = { readonly [name in OperationName]?: (scope: Scope) => readonly Statement[] };
