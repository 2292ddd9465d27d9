import type { CoreExports, CoreFunctions, RamAddress } from "./imports.ts";
import { Addressing } from "./interpreter/addressing.ts";
import { defineUnfinishedInstructions, MainLoop } from "./interpreter/main-loop.ts";
import { coreMemorySize, tlbAt, tlbHalfSize, tlbInvalidTag } from "./layout.ts";
import { arithmeticSemantics } from "./semantics/arithmetic.ts";
import { bitSemantics } from "./semantics/bits.ts";
import { MemoryAccess } from "./semantics/memory-access.ts";
import { moveSemantics } from "./semantics/moves.ts";
import { multiplicationSemantics } from "./semantics/multiplication.ts";
import { defineRuntime } from "./semantics/scope.ts";
import { shiftSemantics } from "./semantics/shifts.ts";
import { defineVectorFunction } from "./semantics/vector/index.ts";
import {
  type FunctionReference,
  i32,
  ModuleBuilder,
  memoryFill,
  type ResultType,
  type ValueType,
} from "./wasm/index.ts";

/** What the module can be made for. */
export interface CoreModuleOptions {
  /** How guest RAM is addressed: `i64` for more than 4 GiB. */
  readonly ramAddress: RamAddress;
}

const wasmPage = 0x1_0000;
/** The most pages that V8 allows a memory: 4 GiB, or 16 GiB with 64-bit addresses. */
const mostPages: Readonly<Record<RamAddress, number>> = { i32: 0x1_0000, i64: 0x4_0000 };

/**
 * Builds the interpreter: a WebAssembly module (its bytes) that imports what {@link CoreFunctions} says, and exports
 * {@link CoreExports}.
 */
export function buildCoreModule({ ramAddress }: CoreModuleOptions): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder();
  const pages = coreMemorySize / wasmPage;
  const core = module.importMemory("env", "core", { address: "i32", shared: false, minimum: pages, maximum: pages });
  const ram = module.importMemory("env", "ram", {
    address: ramAddress,
    shared: true,
    minimum: 1,
    maximum: mostPages[ramAddress],
  });
  const importFunction = <const P extends readonly ValueType[], R extends ResultType>(
    name: keyof CoreFunctions,
    parameters: P,
    result: R,
  ): FunctionReference<P, R> => module.importFunction("env", name, parameters, result);
  const resolve = importFunction("resolve", ["i32"], "i32");
  const helper = importFunction("helper", ["i32", "i32"], "i32");
  const load = importFunction("slowLoad", ["i32"], "none");
  const store = importFunction("slowStore", ["i32"], "none");
  const modify = importFunction("slowModify", ["i32"], "none");
  const storeBack = importFunction("slowStoreBack", ["i32"], "none");
  const raise = importFunction("raise", ["i32", "i32"], "none");
  const checkSegment = importFunction("checkSegment", ["i32", "i32", "i32"], "none");

  const runtime = defineRuntime(module, core, raise);
  const unfinishedInstructions = defineUnfinishedInstructions(module, core);
  const run = MainLoop.define(module, {
    runtime,
    memory: new MemoryAccess(module, runtime, ram, { load, store, modify, storeBack }),
    addressing: new Addressing(module, core, checkSegment),
    semantics: {
      ...arithmeticSemantics,
      ...shiftSemantics,
      ...multiplicationSemantics,
      ...moveSemantics,
      ...bitSemantics,
    },
    resolve,
    helper,
    vector: defineVectorFunction(module, { core, helper }),
    unfinishedInstructions,
  });
  // Every byte of an entry becomes that of the invalid tag: no page's address looks like that either.
  const flushTlb = module.defineFunction("flushTlb", [], "none", () => [
    memoryFill(core, i32.const(tlbAt), i32.const(tlbInvalidTag), i32.const(2 * tlbHalfSize)),
  ]);

  const exportFunction = (name: keyof CoreExports, reference: FunctionReference) =>
    module.exportFunction(name, reference);
  exportFunction("run", run);
  exportFunction("unfinishedInstructions", unfinishedInstructions);
  exportFunction("readFlags", runtime.flags.read);
  exportFunction("flushTlb", flushTlb);
  return module.encode();
}
