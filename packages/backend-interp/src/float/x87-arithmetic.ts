/** What x87's register and memory instructions share: the four operations, comparisons, remainders, scaling. */
import {
  add,
  bitLength,
  compare,
  defaultNaN,
  divide,
  extended,
  type Float,
  type FloatEnvironment,
  finite,
  floatException,
  fromInteger,
  infinity,
  invalid,
  isNaNKind,
  multiply,
  propagate,
  round,
  subtract,
  toInteger,
  zero,
} from "./soft-float.ts";
import { statusBit, type X87Unit } from "./x87-unit.ts";

const { c0, c2, c3 } = statusBit;

/** FADD FMUL FCOM FCOMP FSUB FSUBR FDIV FDIVR: the order in which opcode bits 5:3 number them. */
function compute(unit: X87Unit, operation: number, a: Float, b: Float): Float {
  const { environment, format } = unit;
  switch (operation) {
    case 0:
      return add(environment, format, a, b);
    case 1:
      return multiply(environment, format, a, b);
    case 4:
      return subtract(environment, format, a, b);
    case 5:
      return subtract(environment, format, b, a);
    case 6:
      return divide(environment, format, a, b);
    default:
      return divide(environment, format, b, a);
  }
}

/**
 * ST(destination) = ST(destination) op operand; false if an unmasked exception forbids it. `flagsBefore` are exceptions
 * that the operand's conversion raised.
 */
export function arithmetic(unit: X87Unit, operation: number, destination: number, operand: Float | undefined): boolean {
  if (unit.isEmpty(destination) || operand === undefined) {
    if (!unit.stackFault(false)) return false;
    unit.write(destination, defaultNaN);
    return true;
  }
  unit.begin();
  const result = compute(unit, operation, unit.read(destination), operand);
  if (unit.settleEarly()) return false;
  unit.write(destination, result);
  return true;
}

/** C3 C2 C0 of a comparison's outcome. */
export function conditionsOf(outcome: -1 | 0 | 1 | 2): number {
  switch (outcome) {
    case -1:
      return c0;
    case 0:
      return c3;
    case 1:
      return 0;
    default:
      return c0 | c2 | c3;
  }
}

/** Compares ST(0) with an operand (undefined: an empty register); false if an unmasked exception forbids popping. */
export function compareWith(unit: X87Unit, operand: Float | undefined, quiet: boolean): boolean {
  if (unit.isEmpty(0) || operand === undefined) {
    unit.setConditions(c0 | c2 | c3);
    return unit.stackFault(false);
  }
  unit.begin();
  const outcome = compare(unit.environment, unit.read(0), operand, quiet);
  unit.setConditions(conditionsOf(outcome));
  return !unit.settleEarly();
}

const carry = 1;
const parity = 4;
const zeroFlag = 0x40;
const arithmeticFlags = 0x8d5;

/**
 * FCOMI and FUCOMI; false if an unmasked exception forbids popping. The flags are written in any case. C1 stays, as AMD's
 * processors have it, unless the stack underflows.
 */
export function compareIntoFlags(unit: X87Unit, index: number, quiet: boolean): boolean {
  let outcome: -1 | 0 | 1 | 2 = 2;
  let complete: boolean;
  if (unit.isEmpty(0) || unit.isEmpty(index)) {
    complete = unit.stackFault(false);
  } else {
    const c1 = unit.status & statusBit.c1;
    unit.begin();
    outcome = compare(unit.environment, unit.read(0), unit.read(index), quiet);
    complete = !unit.settleEarly();
    unit.status |= c1;
  }
  const flags = outcome === 2 ? zeroFlag | parity | carry : outcome === 0 ? zeroFlag : outcome < 0 ? carry : 0;
  const { processor } = unit;
  processor.writeFlags((processor.readFlags() & ~arithmeticFlags) | flags);
  return complete;
}

/** FXAM. */
export function examine(unit: X87Unit): void {
  const [, signAndExponent] = unit.readRaw(0);
  const value = unit.read(0);
  let bits: number;
  if (unit.isEmpty(0)) bits = c3 | c0;
  else if (value.kind === "unsupported") bits = 0;
  else if (isNaNKind(value)) bits = c0;
  else if (value.kind === "infinity") bits = c2 | c0;
  else if (value.kind === "zero") bits = c3;
  else bits = value.denormal ? c3 | c2 : c2;
  unit.setConditions(bits);
  unit.status = (unit.status & ~statusBit.c1) | (signAndExponent & 0x8000 ? statusBit.c1 : 0);
}

function leading(a: Float): number {
  return a.exponent + bitLength(a.significand) - 1;
}

/**
 * FPREM and FPREM1. Reduces exponents by at most 63 at a time (C2 set while incomplete); C0, C3 and C1 are the quotient's
 * bits 2, 1 and 0.
 */
export function remainder(unit: X87Unit, nearest: boolean): void {
  if (unit.isEmpty(0) || unit.isEmpty(1)) {
    unit.status &= ~c2;
    if (unit.stackFault(false)) unit.write(0, defaultNaN);
    return;
  }
  const environment = unit.begin();
  const a = unit.read(0);
  const b = unit.read(1);
  // Without a quotient only C2 and C1 have a meaning; AMD processors leave C0 and C3 as they were.
  let meaningful = c0 | statusBit.c1 | c2 | c3;
  let quotientBits = 0n;
  let incomplete = false;
  let result = propagate(environment, a, b);
  if (result) meaningful = statusBit.c1 | c2;
  else {
    if (a.kind === "infinity" || b.kind === "zero") {
      result = invalid(environment);
      meaningful = statusBit.c1 | c2;
    } else {
      if (a.denormal || b.denormal) environment.flags |= floatException.denormal;
      if (a.kind === "zero" || b.kind === "infinity") {
        // NOTE: a denormal dividend stays as it is, but is a tiny result.
        result = a.kind === "zero" ? a : round(environment, extended, a.sign, a.significand, a.exponent);
      } else {
        [result, quotientBits, incomplete] = exactRemainder(environment, a, b, nearest);
      }
    }
  }
  unit.status &= ~c2;
  if (unit.settleEarly()) return;
  unit.write(0, result);
  let status = unit.status & ~meaningful;
  if (incomplete) status |= c2;
  else {
    if (quotientBits & 4n) status |= c0;
    if (quotientBits & 2n) status |= c3;
    if (quotientBits & 1n) status |= statusBit.c1;
  }
  unit.status = status;
}

function exactRemainder(
  environment: FloatEnvironment,
  a: Float,
  b: Float,
  nearest: boolean,
): [result: Float, quotient: bigint, incomplete: boolean] {
  const difference = leading(a) - leading(b);
  if (difference < -1) return [round(environment, extended, a.sign, a.significand, a.exponent), 0n, false];
  let divisor = b.significand;
  let divisorExponent = b.exponent;
  let incomplete = false;
  if (difference >= 64) {
    // Subtracts a multiple of b·2^k that leaves the exponents k apart at most.
    divisorExponent += difference - ((difference & 31) | 32);
    incomplete = true;
  }
  let dividend = a.significand;
  let exponent = divisorExponent;
  if (a.exponent >= divisorExponent) dividend <<= BigInt(a.exponent - divisorExponent);
  else {
    divisor <<= BigInt(divisorExponent - a.exponent);
    exponent = a.exponent;
  }
  let quotient = dividend / divisor;
  let rest = dividend - quotient * divisor;
  let sign = a.sign;
  if (nearest && !incomplete) {
    const twice = rest * 2n;
    if (twice > divisor || (twice === divisor && quotient & 1n)) {
      rest = divisor - rest;
      quotient += 1n;
      sign = (sign ^ 1) as 0 | 1;
    }
  }
  const result = rest === 0n ? zero(a.sign) : round(environment, extended, sign, rest, exponent);
  return [result, quotient, incomplete];
}

/** FSCALE: ST(0)·2^trunc(ST(1)). */
export function scale(environment: FloatEnvironment, a: Float, b: Float): Float {
  const nan = propagate(environment, a, b);
  if (nan) return nan;
  if (b.kind === "infinity") {
    if (b.sign === 0 ? a.kind === "zero" : a.kind === "infinity") return invalid(environment);
    if (a.denormal) environment.flags |= floatException.denormal;
    return b.sign ? zero(a.sign) : infinity(a.sign);
  }
  if (a.denormal || b.denormal) environment.flags |= floatException.denormal;
  if (a.kind !== "finite") return a;
  let distance = 0;
  if (b.kind === "finite") {
    const top = leading(b);
    if (top >= 17) distance = 1 << 17;
    else if (top >= 0) {
      distance = Number(b.exponent >= 0 ? b.significand << BigInt(b.exponent) : b.significand >> BigInt(-b.exponent));
    }
    if (b.sign) distance = -distance;
  }
  return round(environment, extended, a.sign, a.significand, a.exponent + distance);
}

/** FXTRACT's exponent and significand of a finite number. */
export function extractParts(a: Float): { exponent: Float; significand: Float } {
  return {
    exponent: fromInteger(BigInt(leading(a))),
    significand: finite(a.sign, a.significand, 1 - bitLength(a.significand)),
  };
}

/** Packed BCD (FBLD): 18 digits and a sign; digits above 9 are taken at their place value. */
export function fromDecimal(bytes: Uint8Array): Float {
  let value = 0n;
  for (let at = 8; at >= 0; at--) {
    const byte = bytes[at] as number;
    value = value * 100n + BigInt((byte >> 4) * 10 + (byte & 15));
  }
  const sign = ((bytes[9] as number) >> 7) as 0 | 1;
  return finite(sign, value, 0);
}

const decimalLimit = 10n ** 18n;

/** Packed BCD of the rounded value (FBSTP); the indefinite, with the invalid flag, if it does not fit. */
export function toDecimal(environment: FloatEnvironment, a: Float): Uint8Array {
  const bytes = new Uint8Array(10);
  const before = environment.flags;
  const integer = toInteger(environment, a, 64);
  if (integer === undefined || integer >= decimalLimit || integer <= -decimalLimit) {
    environment.flags = before | floatException.invalid;
    environment.roundedUp = false;
    bytes.set([0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff]);
    return bytes;
  }
  let rest = integer < 0n ? -integer : integer;
  for (let at = 0; at < 9; at++) {
    const pair = Number(rest % 100n);
    bytes[at] = Math.trunc(pair / 10) * 16 + (pair % 10);
    rest /= 100n;
  }
  bytes[9] = a.sign << 7;
  return bytes;
}
