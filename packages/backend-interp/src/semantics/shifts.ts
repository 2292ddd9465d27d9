import { type I32, type I64, i32, i64, type Statement, when } from "../wasm/index.ts";
import { flagBit } from "./flags.ts";
import { constant, signExtend, type Width, zeroExtend } from "./operand.ts";
import type { Scope, Semantics } from "./scope.ts";

/*
 * Intel SDM Vol. 2, SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD. A count that is zero after masking changes no flag, but a
 * 32-bit destination is written (its upper half is cleared) all the same. OF is architectural for a count of 1 only; the same
 * formulas are used for all counts.
 */

/** One bit of a value as 0 or 1. */
function bitAt(value: I64, index: I64): I64 {
  return i64.and(i64.shrU(value, index), constant(1));
}

/** CF and OF, each given as an i64 that is 0 or 1. */
function carryAndOverflow(carry: I64, overflow: I64): I32 {
  return i32.or(i32.wrap(carry), i32.shl(i32.wrap(overflow), i32.const(11)));
}

function masked(width: Width, count: I64): I64 {
  return i64.and(count, constant(width === 64 ? 63 : 31));
}

/** A shift: `x` is the operand, `z` the result; statements set both and give CF and OF. */
function shift(
  width: Width,
  { flags, destination, source, count, x, z }: Scope,
  signed: boolean,
  result: I64,
  carry: I64,
  overflow: I64,
): Statement[] {
  return [
    count.set(masked(width, source.read(8))),
    x.set(signed ? destination.readSigned(width) : destination.read(width)),
    z.set(signExtend(width, result)),
    destination.write(width, z),
    when(i64.ne(count, constant(0)), flags.setResult(z, carryAndOverflow(carry, overflow))),
  ];
}

function shiftLeft(width: Width, scope: Scope): Statement[] {
  const { x, z, count } = scope;
  // NOTE: a count above the width leads to a shift by 41 or more, which finds zeros there.
  const carry = bitAt(x, i64.sub(constant(width), count));
  const overflow = i64.xor(bitAt(z, constant(63)), carry);
  return shift(width, scope, false, i64.shl(x, count), carry, overflow);
}

function shiftRight(width: Width, scope: Scope): Statement[] {
  const { x, count } = scope;
  const carry = bitAt(x, i64.sub(count, constant(1)));
  return shift(width, scope, false, i64.shrU(x, count), carry, bitAt(x, constant(width - 1)));
}

function shiftArithmetic(width: Width, scope: Scope): Statement[] {
  const { x, count } = scope;
  const carry = i64.and(i64.shrS(x, i64.sub(count, constant(1))), constant(1));
  return shift(width, scope, true, i64.shrS(x, count), carry, constant(0));
}

const carryOverflow = flagBit.carry | flagBit.overflow;

function rotate(width: Width, direction: "left" | "right", scope: Scope): Statement[] {
  const { flags, destination, source, count, x, z } = scope;
  const [same, opposite] = direction === "left" ? [i64.shl, i64.shrU] : [i64.shrU, i64.shl];
  const rotated =
    width === 64
      ? (direction === "left" ? i64.rotl : i64.rotr)(x, count)
      : zeroExtend(
          width,
          i64.or(
            same(x, i64.and(count, constant(width - 1))),
            opposite(x, i64.sub(constant(width), i64.and(count, constant(width - 1)))),
          ),
        );
  const top = bitAt(z, constant(width - 1));
  const carry = direction === "left" ? i64.and(z, constant(1)) : top;
  const beside = direction === "left" ? i64.and(z, constant(1)) : bitAt(z, constant(width - 2));
  return [
    count.set(masked(width, source.read(8))),
    x.set(destination.read(width)),
    z.set(rotated),
    destination.write(width, z),
    when(i64.ne(count, constant(0)), flags.replace(carryOverflow, carryAndOverflow(carry, i64.xor(top, beside)))),
  ];
}

/** RCL and RCR of 8, 16 and 32 bits: a rotation of the operand with CF above it, in 64 bits. */
function rotateThroughCarryNarrow(width: 8 | 16 | 32, direction: "left" | "right", scope: Scope): Statement[] {
  const { flags, destination, source, count, x, z } = scope;
  const length = width + 1;
  const left =
    direction === "left"
      ? i64.or(i64.shl(x, count), i64.shrU(x, i64.sub(constant(length), count)))
      : i64.or(i64.shrU(x, count), i64.shl(x, i64.sub(constant(length), count)));
  const top = bitAt(z, constant(width - 1));
  const carry = bitAt(z, constant(width));
  return [
    count.set(masked(width, source.read(8))),
    ...(width === 32 ? [] : [count.set(i64.remU(count, constant(length)))]),
    when(
      i64.ne(count, constant(0)),
      [
        x.set(i64.or(destination.read(width), i64.shl(i64.extendU(flags.carry), constant(width)))),
        z.set(left),
        destination.write(width, z),
        ...flags.replace(
          carryOverflow,
          carryAndOverflow(carry, i64.xor(top, direction === "left" ? carry : bitAt(z, constant(width - 2)))),
        ),
      ],
      [destination.write(width, destination.read(width))],
    ),
  ];
}

function rotateThroughCarryWide(direction: "left" | "right", scope: Scope): Statement[] {
  const { flags, destination, source, count, x, y, z, bits } = scope;
  const [same, opposite] = direction === "left" ? [i64.shl, i64.shrU] : [i64.shrU, i64.shl];
  // NOTE: a shift by 65 - count, in two steps as it can be 64.
  const around = opposite(opposite(x, constant(1)), i64.sub(constant(64), count));
  const carryAt = direction === "left" ? i64.sub(count, constant(1)) : i64.sub(constant(64), count);
  const leaves = direction === "left" ? i64.sub(constant(64), count) : i64.sub(count, constant(1));
  const top = bitAt(z, constant(63));
  return [
    count.set(masked(64, source.read(8))),
    when(i64.ne(count, constant(0)), [
      bits.set(flags.carry),
      x.set(destination.read(64)),
      z.set(i64.or(i64.or(same(x, count), around), i64.shl(i64.extendU(bits), carryAt))),
      y.set(bitAt(x, leaves)),
      destination.write(64, z),
      ...flags.replace(
        carryOverflow,
        carryAndOverflow(y, i64.xor(top, direction === "left" ? y : bitAt(z, constant(62)))),
      ),
    ]),
  ];
}

function rotateThroughCarry(width: Width, direction: "left" | "right", scope: Scope): Statement[] {
  return width === 64 ? rotateThroughCarryWide(direction, scope) : rotateThroughCarryNarrow(width, direction, scope);
}

/**
 * SHLD and SHRD. 16 and 32 bits: one shift of a 64-bit value that has the operand, what fills it, and (16 bits, counts above 16, where the
 * SDM leaves the result undefined) the operand once more.
 */
function shiftDouble(width: 16 | 32 | 64, direction: "left" | "right", scope: Scope): Statement[] {
  const { flags, destination, source, base, count, x, y, z } = scope;
  const left = direction === "left";
  const operand = destination.read(width);
  const filler = source.read(width);
  const at = (value: I64, position: number) => i64.shl(value, constant(position));
  let joined: I64;
  let result: I64;
  let carry: I64;
  if (width === 64) {
    joined = operand;
    result = left
      ? i64.or(i64.shl(x, count), i64.shrU(filler, i64.sub(constant(64), count)))
      : i64.or(i64.shrU(x, count), i64.shl(filler, i64.sub(constant(64), count)));
    carry = bitAt(x, left ? i64.sub(constant(64), count) : i64.sub(count, constant(1)));
  } else if (width === 32) {
    joined = left ? i64.or(at(operand, 32), filler) : i64.or(at(filler, 32), operand);
    result = left ? i64.shrU(i64.shl(x, count), constant(32)) : i64.shrU(x, count);
    carry = bitAt(x, left ? i64.sub(constant(64), count) : i64.sub(count, constant(1)));
  } else {
    joined = i64.or(i64.or(at(operand, 32), at(filler, 16)), operand);
    result = left ? i64.shrU(i64.shl(x, count), constant(32)) : i64.shrU(x, count);
    carry = bitAt(x, left ? i64.sub(constant(48), count) : i64.sub(count, constant(1)));
  }
  const sign = (value: I64) => bitAt(value, constant(width - 1));
  return [
    count.set(masked(width, base.read(8))),
    when(
      i64.ne(count, constant(0)),
      [
        x.set(joined),
        z.set(signExtend(width, result)),
        y.set(i64.xor(sign(z), sign(operand))),
        destination.write(width, z),
        ...flags.setResult(z, carryAndOverflow(carry, y)),
      ],
      width === 32 ? [destination.write(32, operand)] : [],
    ),
  ];
}

function ofWidth(width: Width): Semantics {
  return {
    [`shift-left${width}`]: (scope: Scope) => shiftLeft(width, scope),
    [`shift-right${width}`]: (scope: Scope) => shiftRight(width, scope),
    [`shift-arithmetic${width}`]: (scope: Scope) => shiftArithmetic(width, scope),
    [`rotate-left${width}`]: (scope: Scope) => rotate(width, "left", scope),
    [`rotate-right${width}`]: (scope: Scope) => rotate(width, "right", scope),
    [`rotate-carry-left${width}`]: (scope: Scope) => rotateThroughCarry(width, "left", scope),
    [`rotate-carry-right${width}`]: (scope: Scope) => rotateThroughCarry(width, "right", scope),
    ...(width === 8
      ? {}
      : {
          [`shift-double-left${width}`]: (scope: Scope) => shiftDouble(width, "left", scope),
          [`shift-double-right${width}`]: (scope: Scope) => shiftDouble(width, "right", scope),
        }),
  };
}

/** Shifts and rotations. */
export const shiftSemantics: Semantics = { ...ofWidth(8), ...ofWidth(16), ...ofWidth(32), ...ofWidth(64) };
