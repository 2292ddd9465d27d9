import { slowValueHighSlot, slowValueSlot } from "../layout.ts";
import { call, choose, type I32, type I64, i32, i64, type Statement, when } from "../wasm/index.ts";
import { raiseFault } from "./faults.ts";
import { flagBit } from "./flags.ts";
import { constant, register, registerNumber, signExtend, type Width, zeroExtend } from "./operand.ts";
import type { Scope, Semantics } from "./scope.ts";

/** CF and OF, both set or both clear; `overflow` is 0 or 1. */
function carryAndOverflow(overflow: I32): I32 {
  return i32.mul(overflow, i32.const(flagBit.carry | flagBit.overflow));
}

/** IMUL with two or three operands: d = left * right. CF and OF say that the product does not fit. */
function multiplySigned(width: 16 | 32 | 64, left: I64, right: I64, scope: Scope): Statement[] {
  const { flags, math, destination, x, y, z } = scope;
  const overflow =
    width === 64
      ? // Most factors have 32 bits, and then no product is too long: that is quicker to see than the upper half is to compute.
        choose(
          i32.and(i64.eq(x, i64.extend32s(x)), i64.eq(y, i64.extend32s(y))),
          i32.const(0),
          i64.ne(call(math.multiplyHighSigned, x, y), i64.shrS(z, constant(63))),
        )
      : i64.ne(z, i64.mul(x, y));
  return [
    x.set(left),
    y.set(right),
    z.set(signExtend(width, i64.mul(x, y))),
    ...flags.setResult(z, carryAndOverflow(overflow)),
    destination.write(width, z),
  ];
}

/** MUL and IMUL with one operand: the product has twice the width. */
function multiplyWide(width: Width, signed: boolean, { core, flags, math, source, x, y, z }: Scope): Statement[] {
  const accumulator = register(core, registerNumber.rax);
  const data = register(core, registerNumber.rdx);
  const factor = signed ? accumulator.readSigned(width) : accumulator.read(width);
  const operands = [x.set(factor), y.set(signed ? source.readSigned(width) : source.read(width))];
  if (width === 64) {
    const high = signed ? math.multiplyHighSigned : math.multiplyHigh;
    return [
      ...operands,
      z.set(call(high, x, y)),
      x.set(i64.mul(x, y)),
      accumulator.write(64, x),
      data.write(64, z),
      ...flags.setResult(x, carryAndOverflow(signed ? i64.ne(z, i64.shrS(x, constant(63))) : i64.ne(z, constant(0)))),
    ];
  }
  const upper = i64.shrU(z, constant(width));
  const extended = signed ? signExtend(width, z) : zeroExtend(width, z);
  return [
    ...operands,
    z.set(i64.mul(x, y)),
    ...(width === 8 ? [accumulator.write(16, z)] : [accumulator.write(width, z), data.write(width, upper)]),
    ...flags.setResult(signExtend(width, z), carryAndOverflow(i64.ne(z, extended))),
  ];
}

/** #DE, unless the condition is 0. */
function divideErrorIf(condition: I32, scope: Scope): Statement {
  return when(condition, raiseFault(scope, 0, -1));
}

/** What traps in WebAssembly: a divisor of 0, and -2^63 / -1. */
function cannotDivide(signed: boolean, { x, y }: Scope): I32 {
  const zero = i64.eqz(y);
  if (!signed) return zero;
  return i32.or(zero, i32.and(i64.eq(y, constant(-1)), i64.eq(x, constant(-(1n << 63n)))));
}

/** DIV and IDIV of 8, 16 and 32 bits: the dividend has at most 64 bits. */
function divideNarrow(width: 8 | 16 | 32, signed: boolean, scope: Scope): Statement[] {
  const { core, source, x, y, z } = scope;
  const accumulator = register(core, registerNumber.rax);
  const data = register(core, registerNumber.rdx);
  const extend = signed ? signExtend : zeroExtend;
  const joined = i64.or(i64.shl(data.read(width), constant(width)), accumulator.read(width));
  const remainder = (signed ? i64.remS : i64.remU)(x, y);
  return [
    x.set(width === 8 ? extend(16, accumulator.read(16)) : extend(width === 16 ? 32 : 64, joined)),
    y.set(extend(width, source.read(width))),
    divideErrorIf(cannotDivide(signed, scope), scope),
    z.set((signed ? i64.divS : i64.divU)(x, y)),
    divideErrorIf(i64.ne(z, extend(width, z)), scope),
    x.set(remainder),
    ...(width === 8
      ? [accumulator.write(16, i64.or(zeroExtend(8, z), i64.shl(x, constant(8))))]
      : [accumulator.write(width, z), data.write(width, x)]),
  ];
}

function divideUnsigned64(scope: Scope): Statement[] {
  const { core, math, source, x, y, z } = scope;
  const accumulator = register(core, registerNumber.rax);
  const data = register(core, registerNumber.rdx);
  return [
    x.set(accumulator.read(64)),
    y.set(source.read(64)),
    z.set(data.read(64)),
    when(
      i64.eqz(z),
      [divideErrorIf(i64.eqz(y), scope), accumulator.write(64, i64.divU(x, y)), data.write(64, i64.remU(x, y))],
      [
        divideErrorIf(i64.geU(z, y), scope),
        call(math.divideWide, z, x, y),
        accumulator.write(64, i64.load(core, i32.const(0), slowValueSlot)),
        data.write(64, i64.load(core, i32.const(0), slowValueHighSlot)),
      ],
    ),
  ];
}

function divideSigned64(scope: Scope): Statement[] {
  const { core, math, source, x, y, z, count } = scope;
  const accumulator = register(core, registerNumber.rax);
  const data = register(core, registerNumber.rdx);
  const quotient = i64.load(core, i32.const(0), slowValueSlot);
  const remainder = i64.load(core, i32.const(0), slowValueHighSlot);
  const signOf = (value: I64): I64 => i64.shrS(value, constant(63));
  const applySign = (value: I64, sign: I64): I64 => i64.sub(i64.xor(value, sign), sign);
  return [
    x.set(accumulator.read(64)),
    y.set(source.read(64)),
    z.set(data.read(64)),
    when(
      i64.eq(z, signOf(x)),
      [
        divideErrorIf(cannotDivide(true, scope), scope),
        accumulator.write(64, i64.divS(x, y)),
        data.write(64, i64.remS(x, y)),
      ],
      [
        // Magnitudes: the dividend's in z:x, the divisor's in y; count keeps the dividend's sign.
        count.set(signOf(z)),
        when(i32.wrap(count), [
          x.set(i64.sub(constant(0), x)),
          z.set(i64.add(i64.xor(z, constant(-1)), i64.extendU(i64.eqz(x)))),
        ]),
        y.set(applySign(y, signOf(y))),
        divideErrorIf(i64.geU(z, y), scope),
        call(math.divideWide, z, x, y),
        z.set(i64.xor(count, signOf(source.read(64)))),
        x.set(applySign(quotient, z)),
        // The quotient is not 0 here: the dividend's magnitude is 2^63 at least.
        divideErrorIf(i64.ne(signOf(x), z), scope),
        accumulator.write(64, x),
        data.write(64, applySign(remainder, count)),
      ],
    ),
  ];
}

function ofWidth(width: Width): Semantics {
  const two: Semantics =
    width === 8
      ? {}
      : {
          [`multiply-signed${width}`]: (scope: Scope) =>
            multiplySigned(width, scope.destination.readSigned(width), scope.source.readSigned(width), scope),
          [`multiply-signed-immediate${width}`]: (scope: Scope) =>
            multiplySigned(width, scope.source.readSigned(width), scope.immediate, scope),
        };
  return {
    ...two,
    [`multiply-wide${width}`]: (scope: Scope) => multiplyWide(width, false, scope),
    [`multiply-wide-signed${width}`]: (scope: Scope) => multiplyWide(width, true, scope),
    [`divide${width}`]: (scope: Scope) => (width === 64 ? divideUnsigned64(scope) : divideNarrow(width, false, scope)),
    [`divide-signed${width}`]: (scope: Scope) =>
      width === 64 ? divideSigned64(scope) : divideNarrow(width, true, scope),
  };
}

/** Multiplication and division. */
export const multiplicationSemantics: Semantics = { ...ofWidth(8), ...ofWidth(16), ...ofWidth(32), ...ofWidth(64) };
