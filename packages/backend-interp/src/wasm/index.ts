/**
 * A WebAssembly assembler. Code is written as expressions that nest as the stack does, checked by TypeScript's types:
 *
 * ```ts
 * const module = new ModuleBuilder();
 * const core = module.importMemory("env", "core", { address: "i32", shared: false, minimum: 1, maximum: 1 });
 * const addPackedWords = module.defineFunction("addPackedWords", ["i32", "i32"], "none", (f, destination, source) => [
 *   v128.store(core, destination, i16x8.add(v128.load(core, destination), v128.load(core, source))),
 * ]);
 * ```
 *
 * Names are WebAssembly's mnemonics in camel case: `i64.extend_i32_u` is `i64.extendU`, `i32x4.trunc_sat_f64x2_s_zero` is
 * `i32x4.truncSatF64x2SZero`. Control: `block`, `loop`, `when` (if), `choose` (if with a value), `select`, `switchOn`, `branch`,
 * `branchIf`, `leave` (return), `call`. See {@link ModuleBuilder} for a whole example.
 */
export * from "./control.ts";
export {
  Expression,
  type F32,
  type F64,
  type FunctionReference,
  type I32,
  type I64,
  type Label,
  type Local,
  type Memory,
  type ResultType,
  type Statement,
  type V128,
  type ValueType,
} from "./expression.ts";
export { FunctionBuilder, ModuleBuilder } from "./module-builder.ts";
export { type Address, f32, f64, i32, i64, memoryFill } from "./numeric.ts";
export { f32x4, f64x2, i8x16, i16x8, i32x4, i64x2, v128 } from "./simd.ts";
