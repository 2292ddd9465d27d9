/** Conversions between integers and floating-point numbers; see floats.ts for what is left to software. */
import {
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
  type Statement,
  v128,
  when,
} from "../../wasm/index.ts";
import { bytesOf, type VectorContext, type VectorSemantics, type VectorSemanticsTable } from "./context.ts";
import {
  allLanes,
  both,
  either,
  inexactIsFree,
  mxcsr,
  normal32,
  normalLanes,
  ordinary32,
  ordinary64,
  ordinaryLanes,
} from "./floats.ts";

/** The precision exception is masked and flagged: for truncations, which do not depend on the rounding mode. */
function truncationIsFree(c: VectorContext): I32 {
  return i32.eq(i32.and(mxcsr(c), i32.const(0x1020)), i32.const(0x1020));
}

const roundsToNearest = (c: VectorContext): I32 => i32.eqz(i32.and(mxcsr(c), i32.const(0x6000)));

const two31 = 2 ** 31;
const two63 = 2 ** 63;

/** A double in local x to an integer: of 32 or 64 bits, truncated or rounded to nearest. */
function toInteger(c: VectorContext, bits: 32 | 64, truncate: boolean): Statement[] {
  const limit = bits === 32 ? two31 : two63;
  const rounded: F64 = truncate ? f64.trunc(c.x) : f64.nearest(c.x);
  return [
    c.z.set(rounded),
    when(
      both(
        f64.ge(c.z, f64.const(-limit)),
        f64.lt(c.z, f64.const(limit)),
        ordinary64(c.x),
        truncate
          ? either(f64.eq(c.z, c.x), truncationIsFree(c))
          : either(both(f64.eq(c.z, c.x), roundsToNearest(c)), inexactIsFree(c)),
      ),
      [
        // NOTE: the saturating form cannot trap, whatever an optimizer thinks of the condition.
        bits === 32 ? c.writeGeneral(i32.truncSatF64S(c.z)) : i64.store(c.core, c.d, i64.truncSatF64S(c.z)),
      ],
      [c.exact],
    ),
  ];
}

/** From a single: as a double it has the same value, but a denormal single is a normal double. */
function fromSingle(bits: 32 | 64, truncate: boolean): VectorSemantics {
  return (c) => [
    c.u.set(f32.load(c.core, c.s)),
    when(ordinary32(c.u), [c.x.set(f64.promote(c.u)), ...toInteger(c, bits, truncate)], [c.exact]),
  ];
}

function fromDouble(bits: 32 | 64, truncate: boolean): VectorSemantics {
  return (c) => [c.x.set(f64.load(c.core, c.s)), ...toInteger(c, bits, truncate)];
}

/** Four singles to integers. */
function packedFromSingles(truncate: boolean): VectorSemantics {
  const limit = f32x4.splat(f32.const(two31));
  const least = f32x4.splat(f32.const(-two31));
  return (c) => [
    c.b.set(c.source),
    c.r.set(truncate ? f32x4.trunc(c.b) : f32x4.nearest(c.b)),
    when(
      both(
        allLanes(v128.and(v128.and(f32x4.ge(c.r, least), f32x4.lt(c.r, limit)), ordinaryLanes("single", c.b))),
        truncate
          ? either(allLanes(f32x4.eq(c.r, c.b)), truncationIsFree(c))
          : either(both(allLanes(f32x4.eq(c.r, c.b)), roundsToNearest(c)), inexactIsFree(c)),
      ),
      [c.write(i32x4.truncSatF32x4S(c.r))],
      [c.exact],
    ),
  ];
}

/** Two doubles to integers; the upper half of d is cleared. */
function packedFromDoubles(truncate: boolean): VectorSemantics {
  const limit = f64x2.splat(f64.const(two31));
  const least = f64x2.splat(f64.const(-two31));
  return (c) => [
    c.b.set(c.source),
    c.r.set(truncate ? f64x2.trunc(c.b) : f64x2.nearest(c.b)),
    when(
      both(
        allLanes(v128.and(v128.and(f64x2.ge(c.r, least), f64x2.lt(c.r, limit)), ordinaryLanes("double", c.b))),
        truncate
          ? either(allLanes(f64x2.eq(c.r, c.b)), truncationIsFree(c))
          : either(both(allLanes(f64x2.eq(c.r, c.b)), roundsToNearest(c)), inexactIsFree(c)),
      ),
      [c.write(i32x4.truncSatF64x2SZero(c.r))],
      [c.exact],
    ),
  ];
}

/** Integers below 2^24 in magnitude are singles. */
const exactSingles = (c: VectorContext): I32 =>
  allLanes(i32x4.ltU(i32x4.add(c.b, i32x4.splat(i32.const(1 << 24))), i32x4.splat(i32.const(1 << 25))));

const lowTwice = bytesOf(32, [0, 1, 0, 1]);

export const conversions: VectorSemanticsTable = {
  cvtsi2sd: (c) => [f64.store(c.core, c.d, f64.convertI32S(i32.load(c.core, c.s)))],
  cvtsi2sd64: (c) => [
    c.n.set(i64.load(c.core, c.s)),
    when(
      either(i64.ltU(i64.add(c.n, i64.const(1n << 53n)), i64.const(1n << 54n)), inexactIsFree(c)),
      [f64.store(c.core, c.d, f64.convertI64S(c.n))],
      [c.exact],
    ),
  ],
  cvtsi2ss: (c) => [
    c.i.set(i32.load(c.core, c.s)),
    when(
      either(i32.ltU(i32.add(c.i, i32.const(1 << 24)), i32.const(1 << 25)), inexactIsFree(c)),
      [f32.store(c.core, c.d, f32.convertI32S(c.i))],
      [c.exact],
    ),
  ],
  cvtsi2ss64: (c) => [
    c.n.set(i64.load(c.core, c.s)),
    when(
      either(i64.ltU(i64.add(c.n, i64.const(1n << 24n)), i64.const(1n << 25n)), inexactIsFree(c)),
      [f32.store(c.core, c.d, f32.convertI64S(c.n))],
      [c.exact],
    ),
  ],
  cvttss2si: fromSingle(32, true),
  cvttss2si64: fromSingle(64, true),
  cvttsd2si: fromDouble(32, true),
  cvttsd2si64: fromDouble(64, true),
  cvtss2si: fromSingle(32, false),
  cvtss2si64: fromSingle(64, false),
  cvtsd2si: fromDouble(32, false),
  cvtsd2si64: fromDouble(64, false),
  cvtss2sd: (c) => [
    c.u.set(f32.load(c.core, c.s)),
    when(ordinary32(c.u), [f64.store(c.core, c.d, f64.promote(c.u))], [c.exact]),
  ],
  cvtsd2ss: (c) => [
    c.x.set(f64.load(c.core, c.s)),
    c.w.set(f32.demote(c.x)),
    when(
      either(
        both(ordinary64(c.x), inexactIsFree(c), either(normal32(c.w), f64.eq(c.x, f64.const(0)))),
        both(ordinary64(c.x), f64.eq(f64.promote(c.w), c.x), either(normal32(c.w), f64.eq(c.x, f64.const(0)))),
      ),
      [f32.store(c.core, c.d, c.w)],
      [c.exact],
    ),
  ],
  cvtps2pd: (c) => [
    // NOTE: a memory operand has only 8 bytes; the lanes beyond are taken from those.
    c.b.set(v128.load64Splat(c.core, c.s)),
    when(allLanes(ordinaryLanes("single", c.b)), [c.write(f64x2.promoteLowF32x4(c.b))], [c.exact]),
  ],
  cvtpd2ps: (c) => [
    c.b.set(c.source),
    c.r.set(f32x4.demoteF64x2Zero(c.b)),
    when(
      both(
        inexactIsFree(c),
        allLanes(ordinaryLanes("double", c.b)),
        allLanes(
          v128.or(
            normalLanes("single", i8x16.shuffle(c.r, c.r, lowTwice)),
            i8x16.shuffle(f64x2.eq(c.b, f64x2.splat(f64.const(0))), c.b, bytesOf(32, [0, 2, 0, 2])),
          ),
        ),
      ),
      [c.write(c.r)],
      [c.exact],
    ),
  ],
  cvtdq2ps: (c) => [
    c.b.set(c.source),
    when(either(exactSingles(c), inexactIsFree(c)), [c.write(f32x4.convertI32x4S(c.b))], [c.exact]),
  ],
  cvtdq2pd: (c) => [c.write(f64x2.convertLowI32x4S(v128.load64Zero(c.core, c.s)))],
  cvtps2dq: packedFromSingles(false),
  cvttps2dq: packedFromSingles(true),
  cvtpd2dq: packedFromDoubles(false),
  cvttpd2dq: packedFromDoubles(true),
};
