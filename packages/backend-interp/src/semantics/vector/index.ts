/** The semantics of the vector operations, as WebAssembly: see vector-operations.ts for the table. */
import { helperNumber } from "../../helper-names.ts";
import { currentOperationAt, xmmAt } from "../../layout.ts";
import { field } from "../../operations.ts";
import { vectorOperations } from "../../vector-operations.ts";
import {
  call,
  drop,
  type FunctionReference,
  i32,
  type Memory,
  type ModuleBuilder,
  type Statement,
  sequence,
  switchOn,
} from "../../wasm/index.ts";
import { VectorContext, type VectorSemantics, type VectorSemanticsTable } from "./context.ts";
import { conversions } from "./conversions.ts";
import { floats } from "./floats.ts";
import { integers } from "./integers.ts";
import { moves } from "./moves.ts";

/** What the vector function uses of the module. */
export interface VectorEnvironment {
  readonly core: Memory<"i32">;
  /** The import `helper`. */
  readonly helper: FunctionReference<readonly ["i32", "i32"], "i32">;
}

const table: VectorSemanticsTable = { ...moves(xmmAt), ...integers, ...floats, ...conversions };

/** Done in software altogether: approximations, dot products and the like. */
const inSoftware: VectorSemantics = (c) => [c.exact];

/** The semantics of a vector operation by its name. */
export function vectorSemantics(name: string): VectorSemantics {
  return table[name] ?? inSoftware;
}

/**
 * Defines the function that executes a `vector` operation, given its address in the core memory. It may call the import
 * `helper` (with `vector-exact`), which may throw the guest fault #XM; the current operation is stored before.
 */
export function defineVectorFunction(
  module: ModuleBuilder,
  environment: VectorEnvironment,
): FunctionReference<readonly ["i32"], "none"> {
  const { core, helper } = environment;
  return module.defineFunction("vector", ["i32"], "none", (f, operation): readonly Statement[] => {
    const exact = sequence(
      i32.store(core, i32.const(currentOperationAt), operation),
      drop(call(helper, i32.const(helperNumber("vector-exact")), operation)),
    );
    const destination = f.local("i32");
    const source = f.local("i32");
    const context = new VectorContext(f, core, {
      destination,
      source,
      immediate: i32.load8u(core, operation, field.immediate),
      exact,
    });
    return [
      destination.set(i32.load(core, operation, field.destination)),
      source.set(i32.load(core, operation, field.source)),
      switchOn(
        i32.load16u(core, operation, field.auxiliary),
        vectorOperations.map(({ name }) => vectorSemantics(name)(context)),
        [exact],
      ),
    ];
  });
}
