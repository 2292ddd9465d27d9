/**
 * Floating-point arithmetic. WebAssembly computes as the processor does when rounding is to nearest, but raises no exceptions
 * and leaves NaNs' bits open. So each operation computes, then proves that nothing but the precision exception can have
 * arisen: operands neither NaN nor denormal, the result a normal number (or an exact zero). If the precision exception is
 * masked and its flag is set already, or the result is proved exact, that is all. Whatever cannot be proved is done again
 * in software by `exact`. (Denormals-are-zero and flush-to-zero need no look: denormals never take the fast way.)
 */
import { mxcsrAt } from "../../layout.ts";
import {
  type F32,
  type F64,
  f32,
  f32x4,
  f64,
  f64x2,
  type I32,
  i8x16,
  i32,
  i32x4,
  i64,
  type Local,
  type Statement,
  type V128,
  v128,
  when,
} from "../../wasm/index.ts";
import { flagBit } from "../flags.ts";
import { bytesOf, lanes, type VectorContext, type VectorSemantics, type VectorSemanticsTable } from "./context.ts";

/** Least positive normal numbers. */
export const leastNormal = { single: 2 ** -126, double: 2 ** -1022 } as const;
const greatest = { single: (2 - 2 ** -23) * 2 ** 127, double: Number.MAX_VALUE } as const;

/** The MXCSR bits that say how a result is rounded, and which exceptions are masked. */
const controlBits = 0x7f80;
const allMasked = 0x1f80;
const precisionFlag = 0x20;

export function mxcsr(c: VectorContext): I32 {
  return i32.load(c.core, i32.const(mxcsrAt));
}

/** Rounding to nearest, all exceptions masked, and the precision exception has its flag already: inexact results change nothing. */
export function inexactIsFree(c: VectorContext): I32 {
  return i32.eq(i32.and(mxcsr(c), i32.const(controlBits | precisionFlag)), i32.const(allMasked | precisionFlag));
}

/** Rounding to nearest, all exceptions masked. */
function defaultControl(c: VectorContext): I32 {
  return i32.eq(i32.and(mxcsr(c), i32.const(controlBits)), i32.const(allMasked));
}

export function both(...conditions: readonly I32[]): I32 {
  return conditions.reduce((left, right) => i32.and(left, right));
}

export function either(...conditions: readonly I32[]): I32 {
  return conditions.reduce((left, right) => i32.or(left, right));
}

/** Neither NaN nor denormal. */
export function ordinary64(value: F64): I32 {
  return either(f64.ge(f64.abs(value), f64.const(leastNormal.double)), f64.eq(value, f64.const(0)));
}

export function ordinary32(value: F32): I32 {
  return either(f32.ge(f32.abs(value), f32.const(leastNormal.single)), f32.eq(value, f32.const(0)));
}

/** Finite and above the least normal number, which a tiny result may have been rounded to. */
function normal64(value: F64): I32 {
  return both(
    f64.gt(f64.abs(value), f64.const(leastNormal.double)),
    f64.le(f64.abs(value), f64.const(greatest.double)),
  );
}

export function normal32(value: F32): I32 {
  return both(
    f32.gt(f32.abs(value), f32.const(leastNormal.single)),
    f32.le(f32.abs(value), f32.const(greatest.single)),
  );
}

const splat64 = (value: number): V128 => f64x2.splat(f64.const(value));
const splat32 = (value: number): V128 => f32x4.splat(f32.const(value));

/** The shapes' instructions and constants, for what is written once for both. */
const shapes = {
  single: { ...f32x4, splatOf: splat32, least: leastNormal.single, greatest: greatest.single },
  double: { ...f64x2, splatOf: splat64, least: leastNormal.double, greatest: greatest.double },
} as const;
type Precision = keyof typeof shapes;

/** Lanes that are neither NaN nor denormal, as masks. */
export function ordinaryLanes(precision: Precision, value: V128): V128 {
  const shape = shapes[precision];
  return v128.or(shape.ge(shape.abs(value), shape.splatOf(shape.least)), shape.eq(value, shape.splatOf(0)));
}

export function normalLanes(precision: Precision, value: V128): V128 {
  const shape = shapes[precision];
  return v128.and(
    shape.gt(shape.abs(value), shape.splatOf(shape.least)),
    shape.le(shape.abs(value), shape.splatOf(shape.greatest)),
  );
}

/** Whether a mask is all ones; its lanes, of 32 or 64 bits, are all ones or zeros. */
export function allLanes(mask: V128): I32 {
  return i32x4.allTrue(mask);
}

type Operation = "add" | "sub" | "mul" | "div";

/** Where a result of zero is exact: always for sums; for products and quotients if an operand is zero. */
function exactZeroLanes(c: VectorContext, precision: Precision, operation: Operation): V128 {
  const shape = shapes[precision];
  const isZero = shape.eq(c.r, shape.splatOf(0));
  if (operation === "add" || operation === "sub") return isZero;
  const first = shape.eq(c.a, shape.splatOf(0));
  const operands = operation === "mul" ? v128.or(first, shape.eq(c.b, shape.splatOf(0))) : first;
  return v128.and(isZero, operands);
}

/** The lanes of locals a and b are ordinary, and those of r such that nothing but inexactness can have arisen. */
function packedIsPlain(c: VectorContext, precision: Precision, operation: Operation): I32 {
  return allLanes(
    v128.and(
      v128.and(ordinaryLanes(precision, c.a), ordinaryLanes(precision, c.b)),
      v128.or(normalLanes(precision, c.r), exactZeroLanes(c, precision, operation)),
    ),
  );
}

/** Finishes a packed operation on locals a and b: r is the result. */
function finishPacked(c: VectorContext, precision: Precision, operation: Operation): Statement {
  return when(both(inexactIsFree(c), packedIsPlain(c, precision, operation)), [c.write(c.r)], [c.exact]);
}

function packed(precision: Precision, operation: Operation): VectorSemantics {
  const compute = shapes[precision][operation];
  return (c) => [
    c.a.set(c.destination),
    c.b.set(c.source),
    c.r.set(compute(c.a, c.b)),
    finishPacked(c, precision, operation),
  ];
}

/** Number of trailing zeros of a double's significand. */
function trailingZeros(value: F64): I32 {
  return i32.wrap(i64.ctz(i64.or(i64.reinterpret(value), i64.const(1n << 52n))));
}

/** Whether z, the operation's result on x and y (all normal or exact zeros), is exact. Division is left to software. */
function isExact64(c: VectorContext, operation: Operation): I32 {
  switch (operation) {
    case "add":
    case "sub": {
      // The rounding error of a sum is a double (Knuth's TwoSum); a difference is a sum with the second operand negated.
      const second = operation === "add" ? c.y : f64.neg(c.y);
      const virtual = f64.sub(c.z, c.x);
      const error = f64.add(f64.sub(c.x, f64.sub(c.z, virtual)), f64.sub(second, virtual));
      return f64.eq(error, f64.const(0));
    }
    case "mul":
      return i32.geU(i32.add(trailingZeros(c.x), trailingZeros(c.y)), i32.const(53));
    default:
      return i32.const(0);
  }
}

function scalar64(operation: Operation): VectorSemantics {
  const compute = f64[operation];
  return (c) => {
    const zero = f64.const(0);
    const isZero = f64.eq(c.z, zero);
    const exactZero =
      operation === "add" || operation === "sub"
        ? isZero
        : operation === "mul"
          ? both(isZero, either(f64.eq(c.x, zero), f64.eq(c.y, zero)))
          : both(isZero, f64.eq(c.x, zero));
    return [
      c.x.set(f64.load(c.core, c.d)),
      c.y.set(f64.load(c.core, c.s)),
      c.z.set(compute(c.x, c.y)),
      c.i.set(both(ordinary64(c.x), ordinary64(c.y), either(normal64(c.z), exactZero))),
      c.j.set(i32.and(c.i, inexactIsFree(c))),
      when(
        either(c.j, both(c.i, i32.eqz(c.j), defaultControl(c), isExact64(c, operation))),
        [f64.store(c.core, c.d, c.z)],
        [c.exact],
      ),
    ];
  };
}

function scalar32(operation: Operation): VectorSemantics {
  const compute = f32[operation];
  return (c) => {
    const zero = f32.const(0);
    const isZero = f32.eq(c.w, zero);
    const exactZero =
      operation === "add" || operation === "sub"
        ? isZero
        : operation === "mul"
          ? both(isZero, either(f32.eq(c.u, zero), f32.eq(c.v, zero)))
          : both(isZero, f32.eq(c.u, zero));
    return [
      c.u.set(f32.load(c.core, c.d)),
      c.v.set(f32.load(c.core, c.s)),
      c.w.set(compute(c.u, c.v)),
      when(
        both(inexactIsFree(c), ordinary32(c.u), ordinary32(c.v), either(normal32(c.w), exactZero)),
        [f32.store(c.core, c.d, c.w)],
        [c.exact],
      ),
    ];
  };
}

function squareRoots(): VectorSemanticsTable {
  const packedRoot =
    (precision: Precision): VectorSemantics =>
    (c) => [
      c.b.set(c.source),
      c.r.set(shapes[precision].sqrt(c.b)),
      when(
        both(
          inexactIsFree(c),
          allLanes(
            v128.and(
              ordinaryLanes(precision, c.b),
              v128.or(normalLanes(precision, c.r), shapes[precision].eq(c.b, shapes[precision].splatOf(0))),
            ),
          ),
        ),
        [c.write(c.r)],
        [c.exact],
      ),
    ];
  return {
    sqrtps: packedRoot("single"),
    sqrtpd: packedRoot("double"),
    sqrtss: (c) => [
      c.u.set(f32.load(c.core, c.s)),
      c.w.set(f32.sqrt(c.u)),
      when(
        both(inexactIsFree(c), ordinary32(c.u), either(normal32(c.w), f32.eq(c.u, f32.const(0)))),
        [f32.store(c.core, c.d, c.w)],
        [c.exact],
      ),
    ],
    sqrtsd: (c) => [
      c.x.set(f64.load(c.core, c.s)),
      c.z.set(f64.sqrt(c.x)),
      when(
        both(inexactIsFree(c), ordinary64(c.x), either(normal64(c.z), f64.eq(c.x, f64.const(0)))),
        [f64.store(c.core, c.d, c.z)],
        [c.exact],
      ),
    ],
  };
}

/**
 * MIN and MAX: the source if either is a NaN or both are zeros. Only NaNs and denormals raise anything, and only these are left
 * to software: WebAssembly's pseudo-minimum is x86's with the operands exchanged.
 */
function extremes(name: "min" | "max"): VectorSemanticsTable {
  const pseudo = name === "min" ? "pmin" : "pmax";
  const beats = name === "min" ? "lt" : "gt";
  const packedExtreme =
    (precision: Precision): VectorSemantics =>
    (c) => [
      c.a.set(c.destination),
      c.b.set(c.source),
      when(
        allLanes(v128.and(ordinaryLanes(precision, c.a), ordinaryLanes(precision, c.b))),
        [c.write(shapes[precision][pseudo](c.b, c.a))],
        [c.exact],
      ),
    ];
  return {
    [`${name}ps`]: packedExtreme("single"),
    [`${name}pd`]: packedExtreme("double"),
    [`${name}ss`]: (c) => [
      c.u.set(f32.load(c.core, c.d)),
      c.v.set(f32.load(c.core, c.s)),
      when(
        both(ordinary32(c.u), ordinary32(c.v)),
        [when(i32.eqz(f32[beats](c.u, c.v)), [f32.store(c.core, c.d, c.v)])],
        [c.exact],
      ),
    ],
    [`${name}sd`]: (c) => [
      c.x.set(f64.load(c.core, c.d)),
      c.y.set(f64.load(c.core, c.s)),
      when(
        both(ordinary64(c.x), ordinary64(c.y)),
        [when(i32.eqz(f64[beats](c.x, c.y)), [f64.store(c.core, c.d, c.y)])],
        [c.exact],
      ),
    ],
  };
}

/** CMPccPS and its like, for operands without NaNs: predicates 0 to 3 are EQ, LT, LE, UNORD (false); bit 2 negates. */
function comparisons(): VectorSemanticsTable {
  const predicate = (c: VectorContext) => i32.and(c.immediate, i32.const(3));
  const negated = (c: VectorContext) =>
    i32.sub(i32.const(0), i32.and(i32.shrU(c.immediate, i32.const(2)), i32.const(1)));
  const mask = (condition: I32): V128 => i32x4.splat(i32.sub(i32.const(0), condition));
  const packedCompare =
    (precision: Precision): VectorSemantics =>
    (c) => {
      const shape = shapes[precision];
      const less = v128.and(
        shape.lt(c.a, c.b),
        mask(i32.eq(i32.shrU(i32.add(predicate(c), i32.const(1)), i32.const(1)), i32.const(1))),
      );
      const equal = v128.and(shape.eq(c.a, c.b), mask(i32.eqz(i32.and(predicate(c), i32.const(1)))));
      return [
        c.a.set(c.destination),
        c.b.set(c.source),
        when(
          allLanes(v128.and(ordinaryLanes(precision, c.a), ordinaryLanes(precision, c.b))),
          [c.write(v128.xor(v128.or(less, equal), i32x4.splat(negated(c))))],
          [c.exact],
        ),
      ];
    };
  /** 1 or 0 from the outcomes of < and =. */
  const outcome = (c: VectorContext, less: I32, equal: I32): I32 =>
    i32.xor(
      either(
        both(less, i32.eq(i32.shrU(i32.add(predicate(c), i32.const(1)), i32.const(1)), i32.const(1))),
        both(equal, i32.eqz(i32.and(predicate(c), i32.const(1)))),
      ),
      i32.and(i32.shrU(c.immediate, i32.const(2)), i32.const(1)),
    );
  return {
    cmpps: packedCompare("single"),
    cmppd: packedCompare("double"),
    cmpss: (c) => [
      c.u.set(f32.load(c.core, c.d)),
      c.v.set(f32.load(c.core, c.s)),
      when(
        both(ordinary32(c.u), ordinary32(c.v)),
        [i32.store(c.core, c.d, i32.sub(i32.const(0), outcome(c, f32.lt(c.u, c.v), f32.eq(c.u, c.v))))],
        [c.exact],
      ),
    ],
    cmpsd: (c) => [
      c.x.set(f64.load(c.core, c.d)),
      c.y.set(f64.load(c.core, c.s)),
      when(
        both(ordinary64(c.x), ordinary64(c.y)),
        [i64.store(c.core, c.d, i64.sub(i64.const(0n), i64.extendU(outcome(c, f64.lt(c.x, c.y), f64.eq(c.x, c.y)))))],
        [c.exact],
      ),
    ],
  };
}

/** COMISS and its like: ZF PF CF = 000 greater, 001 less, 100 equal; unordered operands are left to software. */
function flagComparisons(): VectorSemanticsTable {
  const flags = (less: I32, equal: I32): I32 =>
    i32.or(i32.mul(less, i32.const(flagBit.carry)), i32.mul(equal, i32.const(flagBit.zero)));
  const single: VectorSemantics = (c) => [
    c.u.set(f32.load(c.core, c.d)),
    c.v.set(f32.load(c.core, c.s)),
    when(both(ordinary32(c.u), ordinary32(c.v)), [c.writeFlags(flags(f32.lt(c.u, c.v), f32.eq(c.u, c.v)))], [c.exact]),
  ];
  const double: VectorSemantics = (c) => [
    c.x.set(f64.load(c.core, c.d)),
    c.y.set(f64.load(c.core, c.s)),
    when(both(ordinary64(c.x), ordinary64(c.y)), [c.writeFlags(flags(f64.lt(c.x, c.y), f64.eq(c.x, c.y)))], [c.exact]),
  ];
  return { comiss: single, ucomiss: single, comisd: double, ucomisd: double };
}

/** Additions and subtractions of neighbours: first the even, then the odd lanes of d and s. */
function horizontal(precision: Precision, operation: "add" | "sub"): VectorSemantics {
  const [even, odd] =
    precision === "single"
      ? [bytesOf(32, [0, 2, 4, 6]), bytesOf(32, [1, 3, 5, 7])]
      : [bytesOf(64, [0, 2]), bytesOf(64, [1, 3])];
  return (c) => [
    c.a.set(i8x16.shuffle(c.destination, c.source, even)),
    c.b.set(i8x16.shuffle(c.destination, c.source, odd)),
    c.r.set(shapes[precision][operation](c.a, c.b)),
    finishPacked(c, precision, operation),
  ];
}

/** Subtracts in even lanes, adds in odd ones. */
function alternating(precision: Precision): VectorSemantics {
  const signs = precision === "single" ? lanes(32, [0x80000000, 0]) : lanes(64, [1n << 63n, 0n]);
  return (c) => [
    c.a.set(c.destination),
    c.b.set(v128.xor(c.source, signs)),
    c.r.set(shapes[precision].add(c.a, c.b)),
    finishPacked(c, precision, "add"),
  ];
}

/**
 * Rounds in local form: `round` gets the mode (0 nearest, 1 down, 2 up, 3 zero). A denormal, a NaN, or an inexact result
 * whose exception is not suppressed (bit 3 of the immediate) and not free goes to software.
 */
function roundings(): VectorSemanticsTable {
  const mode = (c: VectorContext): Statement[] => [
    c.i.set(i32.and(c.immediate, i32.const(3))),
    when(i32.and(c.immediate, i32.const(4)), [c.i.set(i32.and(i32.shrU(mxcsr(c), i32.const(13)), i32.const(3)))]),
  ];
  const suppressed = (c: VectorContext): I32 => i32.ne(i32.and(c.immediate, i32.const(8)), i32.const(0));
  /** The precision exception is masked and flagged. */
  const free = (c: VectorContext): I32 => i32.eq(i32.and(mxcsr(c), i32.const(0x1020)), i32.const(0x1020));
  const byMode = <T extends "f32" | "f64" | "v128">(
    c: VectorContext,
    result: Local<T>,
    operand: Local<T>,
    by: Readonly<Record<"nearest" | "floor" | "ceil" | "trunc", (value: Local<T>) => Parameters<Local<T>["set"]>[0]>>,
  ): Statement[] => [
    result.set(by.nearest(operand)),
    when(c.i, [
      result.set(by.floor(operand)),
      when(i32.gtU(c.i, i32.const(1)), [
        result.set(by.ceil(operand)),
        when(i32.gtU(c.i, i32.const(2)), [result.set(by.trunc(operand))]),
      ]),
    ]),
  ];
  const packedRound =
    (precision: Precision): VectorSemantics =>
    (c) => [
      ...mode(c),
      c.b.set(c.source),
      ...byMode(c, c.r, c.b, shapes[precision]),
      when(
        both(
          allLanes(ordinaryLanes(precision, c.b)),
          either(suppressed(c), free(c), allLanes(shapes[precision].eq(c.r, c.b))),
        ),
        [c.write(c.r)],
        [c.exact],
      ),
    ];
  return {
    roundps: packedRound("single"),
    roundpd: packedRound("double"),
    roundss: (c) => [
      ...mode(c),
      c.u.set(f32.load(c.core, c.s)),
      ...byMode(c, c.w, c.u, f32),
      when(
        both(ordinary32(c.u), either(suppressed(c), free(c), f32.eq(c.w, c.u))),
        [f32.store(c.core, c.d, c.w)],
        [c.exact],
      ),
    ],
    roundsd: (c) => [
      ...mode(c),
      c.x.set(f64.load(c.core, c.s)),
      ...byMode(c, c.z, c.x, f64),
      when(
        both(ordinary64(c.x), either(suppressed(c), free(c), f64.eq(c.z, c.x))),
        [f64.store(c.core, c.d, c.z)],
        [c.exact],
      ),
    ],
  };
}

function fourTypes(operation: Operation): VectorSemanticsTable {
  return {
    [`${operation}ps`]: packed("single", operation),
    [`${operation}pd`]: packed("double", operation),
    [`${operation}ss`]: scalar32(operation),
    [`${operation}sd`]: scalar64(operation),
  };
}

export const floats: VectorSemanticsTable = {
  ...fourTypes("add"),
  ...fourTypes("sub"),
  ...fourTypes("mul"),
  ...fourTypes("div"),
  ...squareRoots(),
  ...extremes("min"),
  ...extremes("max"),
  ...comparisons(),
  ...flagComparisons(),
  haddps: horizontal("single", "add"),
  haddpd: horizontal("double", "add"),
  hsubps: horizontal("single", "sub"),
  hsubpd: horizontal("double", "sub"),
  addsubps: alternating("single"),
  addsubpd: alternating("double"),
  ...roundings(),
};
