import { eflagsAt, flagsKind, flagsKindAt } from "../../layout.ts";
import {
  type FunctionBuilder,
  type I32,
  i32,
  i64,
  type Local,
  type Memory,
  type Statement,
  sequence,
  type V128,
  v128,
} from "../../wasm/index.ts";
import { flagBit } from "../flags.ts";

/**
 * What the semantics of a vector operation are written over: its operands as addresses of slots, and locals. An
 * interpreter reads the addresses from the operation; a translator passes constants.
 */
export class VectorContext {
  readonly core: Memory<"i32">;
  /** Slot addresses of destination and source. */
  readonly d: I32;
  readonly s: I32;
  /** The 8-bit immediate. */
  readonly immediate: I32;
  /** Executes the operation in TypeScript, exactly. */
  readonly exact: Statement;
  /** Locals that the semantics of one operation may use; they are shared by all, so no value outlives an operation. */
  readonly a: Local<"v128">;
  readonly b: Local<"v128">;
  readonly r: Local<"v128">;
  readonly x: Local<"f64">;
  readonly y: Local<"f64">;
  readonly z: Local<"f64">;
  readonly u: Local<"f32">;
  readonly v: Local<"f32">;
  readonly w: Local<"f32">;
  readonly n: Local<"i64">;
  readonly m: Local<"i64">;
  readonly i: Local<"i32">;
  readonly j: Local<"i32">;

  constructor(
    f: FunctionBuilder,
    core: Memory<"i32">,
    operands: { destination: I32; source: I32; immediate: I32; exact: Statement },
  ) {
    this.core = core;
    this.d = operands.destination;
    this.s = operands.source;
    this.immediate = operands.immediate;
    this.exact = operands.exact;
    this.a = f.local("v128");
    this.b = f.local("v128");
    this.r = f.local("v128");
    this.x = f.local("f64");
    this.y = f.local("f64");
    this.z = f.local("f64");
    this.u = f.local("f32");
    this.v = f.local("f32");
    this.w = f.local("f32");
    this.n = f.local("i64");
    this.m = f.local("i64");
    this.i = f.local("i32");
    this.j = f.local("i32");
  }

  /** The destination's 16 bytes. */
  get destination(): V128 {
    return v128.load(this.core, this.d);
  }

  /** The source's 16 bytes. */
  get source(): V128 {
    return v128.load(this.core, this.s);
  }

  /** Writes the destination's 16 bytes. */
  write(value: V128): Statement {
    return v128.store(this.core, this.d, value);
  }

  /** Writes a 32-bit value to a general register: the upper half is cleared. */
  writeGeneral(value: I32): Statement {
    return i64.store(this.core, this.d, i64.extendU(value));
  }

  /** Sets the arithmetic flags to the given bits (of `flagBit`); the others are cleared. */
  writeFlags(bits: I32): Statement {
    const { core } = this;
    const arithmetic = flagBit.carry | flagBit.parity | flagBit.adjust | flagBit.zero | flagBit.sign | flagBit.overflow;
    return sequence(
      i32.store(
        core,
        i32.const(eflagsAt),
        i32.or(i32.and(i32.load(core, i32.const(eflagsAt)), i32.const(~arithmetic)), bits),
      ),
      i32.store(core, i32.const(flagsKindAt), i32.const(flagsKind.explicit)),
    );
  }
}

/** Emits one vector operation. */
export type VectorSemantics = (c: VectorContext) => readonly Statement[];

/** Semantics by the names of vector-operations.ts. */
export type VectorSemanticsTable = Readonly<Record<string, VectorSemantics>>;

/** d = operation(d, s). */
export function binary(operation: (destination: V128, source: V128) => V128): VectorSemantics {
  return (c) => [c.write(operation(c.destination, c.source))];
}

/** d = operation(s). */
export function unary(operation: (source: V128) => V128): VectorSemantics {
  return (c) => [c.write(operation(c.source))];
}

/** A constant of two, four, eight or sixteen equal or different lanes. */
export function lanes(bits: 8 | 16 | 32 | 64, values: readonly (number | bigint)[]): V128 {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  for (let lane = 0; lane * bits < 128; lane++) {
    const value = BigInt(values[lane % values.length] as number | bigint);
    for (let byte = 0; byte < bits / 8; byte++) {
      view.setUint8((lane * bits) / 8 + byte, Number((value >> BigInt(8 * byte)) & 0xffn));
    }
  }
  return v128.const(bytes);
}

export const zeros = (): V128 => lanes(64, [0]);

/** Byte numbers of lanes, for `i8x16.shuffle`: lanes of the second operand follow those of the first. */
export function bytesOf(bits: 8 | 16 | 32 | 64, numbers: readonly number[]): number[] {
  const size = bits / 8;
  return numbers.flatMap((number) => Array.from({ length: size }, (_, byte) => number * size + byte));
}
