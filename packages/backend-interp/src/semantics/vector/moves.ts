/** Moves, shuffles, insertions and extractions. */
import { type I32, i8x16, i16x8, i32, i32x4, i64, i64x2, select, type V128, v128 } from "../../wasm/index.ts";
import {
  binary,
  bytesOf,
  lanes,
  unary,
  type VectorContext,
  type VectorSemantics,
  type VectorSemanticsTable,
  zeros,
} from "./context.ts";

/** A shuffle of the lanes of d, then s, by constant numbers. */
function shuffle(bits: 8 | 16 | 32 | 64, numbers: readonly number[]): VectorSemantics {
  return binary((d, s) => i8x16.shuffle(d, s, bytesOf(bits, numbers)));
}

/** A shuffle of the lanes of s. */
function rearrange(bits: 32 | 64, numbers: readonly number[]): VectorSemantics {
  return unary((s) => i8x16.shuffle(s, s, bytesOf(bits, numbers)));
}

/** Lanes 0, 1, … of d and s alternately, of the low or the high half. */
function interleave(bits: 8 | 16 | 32 | 64, high: boolean): VectorSemantics {
  const count = 128 / bits;
  const first = high ? count / 2 : 0;
  const numbers = Array.from({ length: count }, (_, lane) => first + (lane >> 1) + (lane & 1 ? count : 0));
  return shuffle(bits, numbers);
}

/** Bits of the immediate, as a byte offset of a lane: ((immediate >> shift) & mask) * size. */
function laneOffset(c: VectorContext, shift: number, mask: number, size: 1 | 2 | 4 | 8): I32 {
  const selected = shift === 0 ? c.immediate : i32.shrU(c.immediate, i32.const(shift));
  const lane = i32.and(selected, i32.const(mask));
  return size === 1 ? lane : i32.shl(lane, i32.const(Math.log2(size)));
}

/** Replaces lanes of a vector by lanes in memory that the immediate selects, two bits each. */
function gather32(c: VectorContext, bases: readonly I32[]): V128 {
  let result = zeros();
  bases.forEach((base, lane) => {
    result = v128.load32Lane(c.core, i32.add(base, laneOffset(c, 2 * lane, 3, 4)), result, lane);
  });
  return result;
}

function gather16(c: VectorContext, first: 0 | 4): V128 {
  let result = c.source;
  for (let lane = 0; lane < 4; lane++) {
    const address = i32.add(c.s, laneOffset(c, 2 * lane, 3, 2));
    result = v128.load16Lane(c.core, address, result, first + lane, 2 * first);
  }
  return result;
}

/** All ones in the lanes whose bit in the immediate is set. */
function immediateMask(c: VectorContext, bits: 16 | 32 | 64): V128 {
  const values = Array.from({ length: 128 / bits }, (_, lane) => 1 << lane);
  const chosen = lanes(bits, values);
  const splat =
    bits === 16
      ? i16x8.splat(c.immediate)
      : bits === 32
        ? i32x4.splat(c.immediate)
        : i64x2.splat(i64.extendU(c.immediate));
  const equal = { 16: i16x8.eq, 32: i32x4.eq, 64: i64x2.eq }[bits];
  return equal(v128.and(splat, chosen), chosen);
}

function blend(bits: 16 | 32 | 64): VectorSemantics {
  return (c) => [c.write(v128.bitselect(c.source, c.destination, immediateMask(c, bits)))];
}

/** Blend by the sign bits of XMM0's lanes. */
function blendBySign(xmm0: (c: VectorContext) => V128, extend: (mask: V128) => V128): VectorSemantics {
  return (c) => [c.write(v128.bitselect(c.source, c.destination, extend(xmm0(c))))];
}

function firstRegister(address: number): (c: VectorContext) => V128 {
  return (c) => v128.load(c.core, i32.const(address));
}

const byteNumbers = Array.from({ length: 16 }, (_, n) => n);

/** The immediate, but not above the limit (which is less than 2^7). */
function limitedImmediate(c: VectorContext, limit: number): I32 {
  return select(i32.ltU(c.immediate, i32.const(limit)), c.immediate, i32.const(limit));
}

/** 0, 1, … 15 plus or minus a count of bytes. */
function shiftedNumbers(c: VectorContext, limit: number, direction: "add" | "sub"): V128 {
  return i8x16[direction](lanes(8, byteNumbers), i8x16.splat(limitedImmediate(c, limit)));
}

const alignRight: VectorSemantics = (c) => [
  c.a.set(shiftedNumbers(c, 32, "add")),
  c.write(
    v128.or(
      // NOTE: a lane number above 15 gives zero.
      i8x16.swizzle(c.source, c.a),
      i8x16.swizzle(c.destination, i8x16.sub(c.a, lanes(8, [16]))),
    ),
  ),
];

const insertSingle: VectorSemantics = (c) => [
  c.i.set(i32.load(c.core, i32.add(c.s, laneOffset(c, 6, 3, 4)))),
  i32.store(c.core, i32.add(c.d, laneOffset(c, 4, 3, 4)), c.i),
  c.write(v128.andnot(c.destination, immediateMask(c, 32))),
];

/** The semantics; `xmm0` is the address of XMM0, the implied mask of three operations. */
export function moves(xmm0: number): VectorSemanticsTable {
  const mask = firstRegister(xmm0);
  return {
    movaps: unary((s) => s),
    movss: (c) => [i32.store(c.core, c.d, i32.load(c.core, c.s))],
    movsldup: rearrange(32, [0, 0, 2, 2]),
    movshdup: rearrange(32, [1, 1, 3, 3]),
    movddup: (c) => [c.write(v128.load64Splat(c.core, c.s))],
    unpcklps: interleave(32, false),
    unpcklpd: interleave(64, false),
    unpckhps: interleave(32, true),
    unpckhpd: interleave(64, true),
    punpcklbw: interleave(8, false),
    punpcklwd: interleave(16, false),
    punpckldq: interleave(32, false),
    punpcklqdq: interleave(64, false),
    punpckhbw: interleave(8, true),
    punpckhwd: interleave(16, true),
    punpckhdq: interleave(32, true),
    punpckhqdq: interleave(64, true),
    shufps: (c) => [c.write(gather32(c, [c.d, c.d, c.s, c.s]))],
    shufpd: (c) => [
      c.write(
        v128.load64Lane(
          c.core,
          i32.add(c.s, laneOffset(c, 1, 1, 8)),
          v128.load64Splat(c.core, i32.add(c.d, laneOffset(c, 0, 1, 8))),
          1,
        ),
      ),
    ],
    pshufd: (c) => [c.write(gather32(c, [c.s, c.s, c.s, c.s]))],
    pshuflw: (c) => [c.write(gather16(c, 0))],
    pshufhw: (c) => [c.write(gather16(c, 4))],
    pshufb: binary((d, s) => i8x16.swizzle(d, v128.and(s, lanes(8, [0x8f])))),
    psrldq: (c) => [c.write(i8x16.swizzle(c.destination, shiftedNumbers(c, 16, "add")))],
    pslldq: (c) => [c.write(i8x16.swizzle(c.destination, shiftedNumbers(c, 16, "sub")))],
    palignr: alignRight,
    movmskps: (c) => [c.writeGeneral(i32x4.bitmask(c.source))],
    movmskpd: (c) => [c.writeGeneral(i64x2.bitmask(c.source))],
    pmovmskb: (c) => [c.writeGeneral(i8x16.bitmask(c.source))],
    pextrb: (c) => [c.writeGeneral(i32.load8u(c.core, i32.add(c.s, laneOffset(c, 0, 15, 1))))],
    pextrw: (c) => [c.writeGeneral(i32.load16u(c.core, i32.add(c.s, laneOffset(c, 0, 7, 2))))],
    pextrd: (c) => [c.writeGeneral(i32.load(c.core, i32.add(c.s, laneOffset(c, 0, 3, 4))))],
    extractps: (c) => [c.writeGeneral(i32.load(c.core, i32.add(c.s, laneOffset(c, 0, 3, 4))))],
    pextrq: (c) => [i64.store(c.core, c.d, i64.load(c.core, i32.add(c.s, laneOffset(c, 0, 1, 8))))],
    pinsrb: (c) => [i32.store8(c.core, i32.add(c.d, laneOffset(c, 0, 15, 1)), i32.load8u(c.core, c.s))],
    pinsrw: (c) => [i32.store16(c.core, i32.add(c.d, laneOffset(c, 0, 7, 2)), i32.load16u(c.core, c.s))],
    pinsrd: (c) => [i32.store(c.core, i32.add(c.d, laneOffset(c, 0, 3, 4)), i32.load(c.core, c.s))],
    pinsrq: (c) => [i64.store(c.core, i32.add(c.d, laneOffset(c, 0, 1, 8)), i64.load(c.core, c.s))],
    insertps: insertSingle,
    blendps: blend(32),
    blendpd: blend(64),
    pblendw: blend(16),
    pblendvb: blendBySign(mask, (value) => i8x16.shrS(value, i32.const(7))),
    blendvps: blendBySign(mask, (value) => i32x4.shrS(value, i32.const(31))),
    blendvpd: blendBySign(mask, (value) => i64x2.shrS(value, i32.const(63))),
  };
}
