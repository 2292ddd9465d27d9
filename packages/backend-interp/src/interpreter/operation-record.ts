import { field } from "../operations.ts";
import { Slot } from "../semantics/operand.ts";
import type { Runtime, Scope } from "../semantics/scope.ts";
import {
  type FunctionBuilder,
  type I32,
  type I64,
  i32,
  i64,
  type Local,
  type Memory,
  type Statement,
} from "../wasm/index.ts";

/** The fields of the operation's record at `pc`; see operations.ts. */
export class OperationRecord {
  readonly #core: Memory<"i32">;
  readonly pc: Local<"i32">;

  constructor(core: Memory<"i32">, pc: Local<"i32">) {
    this.#core = core;
    this.pc = pc;
  }

  /** A field that holds the address of a slot, or of a linked block. */
  address(name: "destination" | "source" | "base" | "index" | "segment"): I32 {
    return i32.load(this.#core, this.pc, field[name]);
  }

  /** The 64-bit value of the slot that a field points to. */
  slot(name: "source" | "base" | "index" | "segment"): I64 {
    return i64.load(this.#core, this.address(name));
  }

  get kind(): I32 {
    return i32.load16u(this.#core, this.pc, field.kind);
  }

  get instructionOffset(): I64 {
    return i64.load16u(this.#core, this.pc, field.instructionOffset);
  }

  get flags(): I32 {
    return i32.load8u(this.#core, this.pc, field.flags);
  }

  get scale(): I64 {
    return i64.load8u(this.#core, this.pc, field.scale);
  }

  get auxiliary(): I32 {
    return i32.load16u(this.#core, this.pc, field.auxiliary);
  }

  get displacement(): I64 {
    return i64.load32s(this.#core, this.pc, field.displacement);
  }

  get immediate(): I64 {
    return i64.load(this.#core, this.pc, field.immediate);
  }
}

/** The locals of the interpreter's function that hold an operation's temporaries. */
export class Temporaries {
  readonly destination: Local<"i32">;
  readonly source: Local<"i32">;
  readonly x: Local<"i64">;
  readonly y: Local<"i64">;
  readonly z: Local<"i64">;
  readonly count: Local<"i64">;
  readonly bits: Local<"i32">;

  constructor(f: FunctionBuilder) {
    this.destination = f.local("i32");
    this.source = f.local("i32");
    this.x = f.local("i64");
    this.y = f.local("i64");
    this.z = f.local("i64");
    this.count = f.local("i64");
    this.bits = f.local("i32");
  }
}

/** Writes an operation's semantics over its record. Operand slots that are used are read from the record once, at the beginning. */
export function withScope(
  runtime: Runtime,
  record: OperationRecord,
  temporaries: Temporaries,
  write: (scope: Scope) => readonly Statement[],
): Statement[] {
  const used = new Set<"destination" | "source">();
  const operand = (name: "destination" | "source") =>
    new Slot(runtime.core, () => {
      used.add(name);
      return temporaries[name];
    });
  const statements = write({
    ...runtime,
    destination: operand("destination"),
    source: operand("source"),
    base: new Slot(runtime.core, () => record.address("base")),
    operation: record.pc,
    get immediate() {
      return record.immediate;
    },
    get displacement() {
      return record.displacement;
    },
    get auxiliary() {
      return record.auxiliary;
    },
    x: temporaries.x,
    y: temporaries.y,
    z: temporaries.z,
    count: temporaries.count,
    bits: temporaries.bits,
  });
  return [...[...used].map((name) => temporaries[name].set(record.address(name))), ...statements];
}
