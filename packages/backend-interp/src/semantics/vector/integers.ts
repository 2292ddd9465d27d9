/** Integer arithmetic, comparisons, shifts and conversions between widths. */
import {
  type I32,
  i8x16,
  i16x8,
  i32,
  i32x4,
  i64,
  i64x2,
  type Statement,
  select,
  type V128,
  v128,
  when,
} from "../../wasm/index.ts";
import { flagBit } from "../flags.ts";
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

type Shift = (value: V128, count: I32) => V128;

/** A shift by a 64-bit count in local n: logical ones give zero if it is too large, arithmetic ones the sign. */
function shiftByLocal(c: VectorContext, shift: Shift, width: number, arithmetic: boolean): Statement {
  const small = i64.ltU(c.n, i64.const(BigInt(width)));
  if (arithmetic) {
    return c.write(shift(c.destination, select(small, i32.wrap(c.n), i32.const(width - 1))));
  }
  return when(small, [c.write(shift(c.destination, i32.wrap(c.n)))], [c.write(zeros())]);
}

function shifts(name: string, shift: Shift, width: number, arithmetic = false): VectorSemanticsTable {
  return {
    [name]: (c) => [c.n.set(i64.load(c.core, c.s)), shiftByLocal(c, shift, width, arithmetic)],
    [`${name}-immediate`]: (c) => [c.n.set(i64.extendU(c.immediate)), shiftByLocal(c, shift, width, arithmetic)],
  };
}

/** The even and odd lanes of d, then s. */
function horizontal(bits: 16 | 32, operation: (even: V128, odd: V128) => V128): VectorSemantics {
  const count = 256 / bits;
  const even = bytesOf(
    bits,
    Array.from({ length: count / 2 }, (_, lane) => 2 * lane),
  );
  const odd = bytesOf(
    bits,
    Array.from({ length: count / 2 }, (_, lane) => 2 * lane + 1),
  );
  return (c) => [
    c.a.set(c.destination),
    c.b.set(c.source),
    c.write(operation(i8x16.shuffle(c.a, c.b, even), i8x16.shuffle(c.a, c.b, odd))),
  ];
}

/** Negates, clears or keeps the lanes of d by the sign of those of s. */
function sign(bits: 8 | 16 | 32): VectorSemantics {
  const shape = { 8: i8x16, 16: i16x8, 32: i32x4 }[bits];
  return (c) => [
    c.b.set(c.source),
    c.a.set(shape.shrS(c.b, i32.const(bits - 1))),
    c.write(v128.and(shape.sub(v128.xor(c.destination, c.a), c.a), shape.ne(c.b, zeros()))),
  ];
}

/** High halves of 16-bit products. */
function multiplyHigh(low: (a: V128, b: V128) => V128, high: (a: V128, b: V128) => V128): VectorSemantics {
  const upper = [2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31];
  return (c) => [
    c.a.set(c.destination),
    c.b.set(c.source),
    c.write(i8x16.shuffle(low(c.a, c.b), high(c.a, c.b), upper)),
  ];
}

/** 64-bit products of the even 32-bit lanes. */
function multiplyEven(multiply: (a: V128, b: V128) => V128): VectorSemantics {
  const even = bytesOf(32, [0, 2, 0, 2]);
  return (c) => [
    c.a.set(c.destination),
    c.b.set(c.source),
    c.write(multiply(i8x16.shuffle(c.a, c.a, even), i8x16.shuffle(c.b, c.b, even))),
  ];
}

const sumOfDifferences: VectorSemantics = (c) => [
  c.a.set(c.destination),
  c.b.set(c.source),
  c.a.set(v128.or(i8x16.subSatU(c.a, c.b), i8x16.subSatU(c.b, c.a))),
  c.a.set(i32x4.extaddPairwiseI16x8U(i16x8.extaddPairwiseI8x16U(c.a))),
  c.write(i64x2.add(v128.and(c.a, lanes(64, [0xffffffff])), i64x2.shrU(c.a, i32.const(32)))),
];

/** Sums of products of unsigned bytes of d and signed ones of s, saturated. */
const multiplyAddBytes: VectorSemantics = (c) => [
  c.a.set(c.destination),
  c.b.set(c.source),
  c.write(
    i16x8.addSatS(
      i16x8.mul(v128.and(c.a, lanes(16, [0xff])), i16x8.shrS(i16x8.shl(c.b, i32.const(8)), i32.const(8))),
      i16x8.mul(i16x8.shrU(c.a, i32.const(8)), i16x8.shrS(c.b, i32.const(8))),
    ),
  ),
];

/** NOTE: WebAssembly saturates -1 * -1 to 0x7fff, x86 gives 0x8000. */
const multiplyRounded: VectorSemantics = (c) => {
  const minusOne = lanes(16, [0x8000]);
  return [
    c.a.set(c.destination),
    c.b.set(c.source),
    c.write(v128.xor(i16x8.q15mulrSatS(c.a, c.b), v128.and(i16x8.eq(c.a, minusOne), i16x8.eq(c.b, minusOne)))),
  ];
};

/** The least of eight words, and its number above it. */
const minimumPosition: VectorSemantics = (c) => {
  const candidate = (lane: number): I32 =>
    i32.or(i32.shl(i32.load16u(c.core, c.s, 2 * lane), i32.const(3)), i32.const(lane));
  const statements: Statement[] = [c.i.set(candidate(0))];
  for (let lane = 1; lane < 8; lane++) {
    statements.push(c.j.set(candidate(lane)), c.i.set(select(i32.ltU(c.j, c.i), c.j, c.i)));
  }
  const result = i32.or(i32.shrU(c.i, i32.const(3)), i32.shl(i32.and(c.i, i32.const(7)), i32.const(16)));
  return [...statements, c.write(i32x4.replaceLane(zeros(), 0, result))];
};

const test: VectorSemantics = (c) => [
  c.a.set(c.destination),
  c.b.set(c.source),
  c.writeFlags(
    i32.or(
      select(v128.anyTrue(v128.and(c.a, c.b)), i32.const(0), i32.const(flagBit.zero)),
      select(v128.anyTrue(v128.andnot(c.b, c.a)), i32.const(0), i32.const(flagBit.carry)),
    ),
  ),
];

export const integers: VectorSemanticsTable = {
  andps: binary(v128.and),
  andpd: binary(v128.and),
  pand: binary(v128.and),
  andnps: binary((d, s) => v128.andnot(s, d)),
  andnpd: binary((d, s) => v128.andnot(s, d)),
  pandn: binary((d, s) => v128.andnot(s, d)),
  orps: binary(v128.or),
  orpd: binary(v128.or),
  por: binary(v128.or),
  xorps: binary(v128.xor),
  xorpd: binary(v128.xor),
  pxor: binary(v128.xor),

  paddb: binary(i8x16.add),
  paddw: binary(i16x8.add),
  paddd: binary(i32x4.add),
  paddq: binary(i64x2.add),
  psubb: binary(i8x16.sub),
  psubw: binary(i16x8.sub),
  psubd: binary(i32x4.sub),
  psubq: binary(i64x2.sub),
  paddsb: binary(i8x16.addSatS),
  paddsw: binary(i16x8.addSatS),
  paddusb: binary(i8x16.addSatU),
  paddusw: binary(i16x8.addSatU),
  psubsb: binary(i8x16.subSatS),
  psubsw: binary(i16x8.subSatS),
  psubusb: binary(i8x16.subSatU),
  psubusw: binary(i16x8.subSatU),
  pavgb: binary(i8x16.avgrU),
  pavgw: binary(i16x8.avgrU),
  pminub: binary(i8x16.minU),
  pminsw: binary(i16x8.minS),
  pmaxub: binary(i8x16.maxU),
  pmaxsw: binary(i16x8.maxS),
  pminsb: binary(i8x16.minS),
  pminsd: binary(i32x4.minS),
  pminuw: binary(i16x8.minU),
  pminud: binary(i32x4.minU),
  pmaxsb: binary(i8x16.maxS),
  pmaxsd: binary(i32x4.maxS),
  pmaxuw: binary(i16x8.maxU),
  pmaxud: binary(i32x4.maxU),
  pcmpeqb: binary(i8x16.eq),
  pcmpeqw: binary(i16x8.eq),
  pcmpeqd: binary(i32x4.eq),
  pcmpeqq: binary(i64x2.eq),
  pcmpgtb: binary(i8x16.gtS),
  pcmpgtw: binary(i16x8.gtS),
  pcmpgtd: binary(i32x4.gtS),
  pcmpgtq: binary(i64x2.gtS),

  pmullw: binary(i16x8.mul),
  pmulld: binary(i32x4.mul),
  pmulhw: multiplyHigh(i32x4.extmulLowI16x8S, i32x4.extmulHighI16x8S),
  pmulhuw: multiplyHigh(i32x4.extmulLowI16x8U, i32x4.extmulHighI16x8U),
  pmulhrsw: multiplyRounded,
  pmuludq: multiplyEven(i64x2.extmulLowI32x4U),
  pmuldq: multiplyEven(i64x2.extmulLowI32x4S),
  pmaddwd: binary(i32x4.dotI16x8S),
  pmaddubsw: multiplyAddBytes,
  psadbw: sumOfDifferences,

  packsswb: binary(i8x16.narrowI16x8S),
  packuswb: binary(i8x16.narrowI16x8U),
  packssdw: binary(i16x8.narrowI32x4S),
  packusdw: binary(i16x8.narrowI32x4U),

  ...shifts("psrlw", i16x8.shrU, 16),
  ...shifts("psraw", i16x8.shrS, 16, true),
  ...shifts("psllw", i16x8.shl, 16),
  ...shifts("psrld", i32x4.shrU, 32),
  ...shifts("psrad", i32x4.shrS, 32, true),
  ...shifts("pslld", i32x4.shl, 32),
  ...shifts("psrlq", i64x2.shrU, 64),
  ...shifts("psllq", i64x2.shl, 64),

  phaddw: horizontal(16, i16x8.add),
  phaddd: horizontal(32, i32x4.add),
  phaddsw: horizontal(16, i16x8.addSatS),
  phsubw: horizontal(16, i16x8.sub),
  phsubd: horizontal(32, i32x4.sub),
  phsubsw: horizontal(16, i16x8.subSatS),
  psignb: sign(8),
  psignw: sign(16),
  psignd: sign(32),
  pabsb: unary(i8x16.abs),
  pabsw: unary(i16x8.abs),
  pabsd: unary(i32x4.abs),

  pmovsxbw: unary(i16x8.extendLowI8x16S),
  pmovsxbd: unary((s) => i32x4.extendLowI16x8S(i16x8.extendLowI8x16S(s))),
  pmovsxbq: unary((s) => i64x2.extendLowI32x4S(i32x4.extendLowI16x8S(i16x8.extendLowI8x16S(s)))),
  pmovsxwd: unary(i32x4.extendLowI16x8S),
  pmovsxwq: unary((s) => i64x2.extendLowI32x4S(i32x4.extendLowI16x8S(s))),
  pmovsxdq: unary(i64x2.extendLowI32x4S),
  pmovzxbw: unary(i16x8.extendLowI8x16U),
  pmovzxbd: unary((s) => i32x4.extendLowI16x8U(i16x8.extendLowI8x16U(s))),
  pmovzxbq: unary((s) => i64x2.extendLowI32x4U(i32x4.extendLowI16x8U(i16x8.extendLowI8x16U(s)))),
  pmovzxwd: unary(i32x4.extendLowI16x8U),
  pmovzxwq: unary((s) => i64x2.extendLowI32x4U(i32x4.extendLowI16x8U(s))),
  pmovzxdq: unary(i64x2.extendLowI32x4U),

  phminposuw: minimumPosition,
  ptest: test,
};
