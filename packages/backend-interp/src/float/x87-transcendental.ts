/** The transcendental instructions D9 F0 to D9 FF: their special operands and stack effects (Intel SDM Vol. 2). */
import {
  defaultNaN,
  extended,
  type Float,
  type FloatEnvironment,
  finite,
  floatException,
  fromInteger,
  infinity,
  invalid,
  multiply,
  propagate,
  zero,
} from "./soft-float.ts";
import {
  arctangent,
  cosine,
  exponentialMinusOne,
  logarithm,
  logarithmOfOnePlus,
  quarterTurns,
  sine,
  tangent,
} from "./transcendental.ts";
import { statusBit, type X87Unit } from "./x87-unit.ts";

const one = finite(0, 1n, 0);

function noteDenormal(environment: FloatEnvironment, ...operands: Float[]): void {
  if (operands.some((operand) => operand.denormal)) environment.flags |= floatException.denormal;
}

/** Whether an argument is too large for argument reduction. */
function outOfRange(a: Float): boolean {
  return a.kind === "finite" && a.exponent >= 0 && !a.denormal;
}

/** FSIN, FCOS. */
export function circularOne(unit: X87Unit, which: "sine" | "cosine"): void {
  unit.status &= ~(statusBit.c1 | statusBit.c2);
  if (unit.isEmpty(0)) {
    if (unit.stackFault(false)) unit.write(0, defaultNaN);
    return;
  }
  const a = unit.read(0);
  if (outOfRange(a)) {
    unit.status |= statusBit.c2;
    return;
  }
  const environment = unit.begin();
  const result = which === "sine" ? sineOf(environment, a) : cosineOf(environment, a);
  if (unit.settleEarly()) return;
  unit.write(0, result);
}

function sineOf(environment: FloatEnvironment, a: Float): Float {
  const nan = propagate(environment, a, one);
  if (nan) return nan;
  if (a.kind === "infinity") return invalid(environment);
  if (a.kind === "zero") return a;
  noteDenormal(environment, a);
  return sine(environment, a);
}

function cosineOf(environment: FloatEnvironment, a: Float): Float {
  const nan = propagate(environment, a, one);
  if (nan) return nan;
  if (a.kind === "infinity") return invalid(environment);
  if (a.kind === "zero") return one;
  noteDenormal(environment, a);
  return cosine(environment, a);
}

function tangentOf(environment: FloatEnvironment, a: Float): Float {
  const nan = propagate(environment, a, one);
  if (nan) return nan;
  if (a.kind === "infinity") return invalid(environment);
  if (a.kind === "zero") return a;
  noteDenormal(environment, a);
  return tangent(environment, a);
}

/** FPTAN, FSINCOS: replace ST(0) and push a second result. */
export function circularTwo(unit: X87Unit, which: "tangent" | "sine-and-cosine"): void {
  unit.status &= ~(statusBit.c1 | statusBit.c2);
  if (unit.isEmpty(0) || !unit.isEmpty(-1)) {
    if (!unit.stackFault(!unit.isEmpty(0))) return;
    unit.write(0, defaultNaN);
    unit.decrementTop();
    unit.write(0, defaultNaN);
    return;
  }
  const a = unit.read(0);
  if (outOfRange(a)) {
    unit.status |= statusBit.c2;
    return;
  }
  const environment = unit.begin();
  let first: Float;
  let second: Float;
  if (which === "tangent") {
    first = tangentOf(environment, a);
    second = first.kind === "quiet" ? first : one;
  } else {
    first = sineOf(environment, a);
    second = first.kind === "quiet" ? first : cosineOf(environment, a);
  }
  if (unit.settleEarly()) return;
  unit.write(0, first);
  unit.decrementTop();
  unit.write(0, second);
}

/** F2XM1. Operands outside -1 to 1 have no defined result: they are left alone, as AMD's processors do it. */
export function powerOfTwo(unit: X87Unit): void {
  unary(unit, (environment, a) => {
    const nan = propagate(environment, a, one);
    if (nan) return nan;
    if (a.kind === "infinity") return a.sign ? finite(1, 1n, 0) : a;
    if (a.kind === "zero") return a;
    noteDenormal(environment, a);
    const top = a.exponent + a.significand.toString(2).length - 1;
    if (top >= 0) {
      const isOne = top === 0 && (a.significand & (a.significand - 1n)) === 0n;
      environment.flags |= floatException.precision;
      if (!isOne) return a;
      return a.sign ? finite(1, 1n, -1) : one;
    }
    return exponentialMinusOne(environment, a);
  });
}

function unary(unit: X87Unit, compute: (environment: FloatEnvironment, a: Float) => Float): void {
  if (unit.isEmpty(0)) {
    if (unit.stackFault(false)) unit.write(0, defaultNaN);
    return;
  }
  const result = compute(unit.begin(), unit.read(0));
  if (unit.settleEarly()) return;
  unit.write(0, result);
}

/** FYL2X, FYL2XP1, FPATAN: ST(1) = f(ST(0), ST(1)), then pop. */
export function binary(unit: X87Unit, which: "logarithm" | "logarithm-plus-one" | "arctangent"): void {
  if (unit.isEmpty(0) || unit.isEmpty(1)) {
    if (!unit.stackFault(false)) return;
    unit.pop();
    unit.write(0, defaultNaN);
    return;
  }
  const environment = unit.begin();
  const x = unit.read(0);
  const y = unit.read(1);
  let result = propagate(environment, x, y);
  if (!result) {
    if (which === "logarithm") result = logarithmOf(environment, y, x);
    else if (which === "arctangent") result = arctangentOf(environment, y, x);
    else result = logarithmPlusOneOf(environment, y, x);
  }
  if (unit.settleEarly()) return;
  unit.pop();
  unit.write(0, result);
}

/** y·log2(x). */
function logarithmOf(environment: FloatEnvironment, y: Float, x: Float): Float {
  if (x.kind === "zero") {
    if (y.kind === "zero") return invalid(environment);
    if (y.kind === "infinity") return infinity((y.sign ^ 1) as 0 | 1);
    environment.flags |= floatException.zeroDivide;
    return infinity((y.sign ^ 1) as 0 | 1);
  }
  if (x.sign) return invalid(environment);
  if (x.kind === "infinity") {
    if (y.kind === "zero") return invalid(environment);
    noteDenormal(environment, y);
    return infinity(y.sign);
  }
  const exponent = x.exponent + x.significand.toString(2).length - 1;
  const power = (x.significand & (x.significand - 1n)) === 0n;
  const negative = exponent < 0 ? 1 : 0;
  if (y.kind === "infinity") {
    if (power && exponent === 0) return invalid(environment);
    noteDenormal(environment, x);
    return infinity((y.sign ^ negative) as 0 | 1);
  }
  noteDenormal(environment, x, y);
  if (y.kind === "zero") return zero((y.sign ^ negative) as 0 | 1);
  if (power) {
    if (exponent === 0) return zero(y.sign);
    return multiply(environment, extended, y, fromInteger(BigInt(exponent)));
  }
  return logarithm(environment, y, x);
}

/** y·log2(1 + x). */
function logarithmPlusOneOf(environment: FloatEnvironment, y: Float, x: Float): Float {
  const sign = (y.sign ^ x.sign) as 0 | 1;
  if (x.kind === "infinity") {
    if (x.sign || y.kind === "zero") return invalid(environment);
    noteDenormal(environment, y);
    return infinity(y.sign);
  }
  if (y.kind === "infinity") {
    if (x.kind === "zero") return invalid(environment);
    noteDenormal(environment, x);
    return infinity(sign);
  }
  noteDenormal(environment, x, y);
  if (x.kind === "zero" || y.kind === "zero") return zero(sign);
  // Outside the documented range (|x| < 1 - √½) the result is undefined; what AMD's processors do is as good as anything.
  const top = x.exponent + x.significand.toString(2).length - 1;
  if (top >= 0 && x.sign) {
    environment.flags |= floatException.precision;
    return x;
  }
  // NOTE: the series around one converges ever more slowly towards -1.
  if (top >= -2) return logarithmOf(environment, y, onePlus(x));
  return logarithmOfOnePlus(environment, y, x);
}

/** 1 + x, exactly. */
function onePlus(x: Float): Float {
  if (x.exponent > 0) return x;
  const one = 1n << BigInt(-x.exponent);
  return finite(0, x.sign ? one - x.significand : one + x.significand, x.exponent);
}

/** atan2(y, x). */
function arctangentOf(environment: FloatEnvironment, y: Float, x: Float): Float {
  if (y.kind === "infinity") {
    if (x.kind === "infinity") return quarterTurns(environment, y.sign, x.sign ? 3n : 1n);
    noteDenormal(environment, x);
    return quarterTurns(environment, y.sign, 2n);
  }
  if (x.kind === "infinity") {
    noteDenormal(environment, y);
    return x.sign ? quarterTurns(environment, y.sign, 4n) : zero(y.sign);
  }
  noteDenormal(environment, x, y);
  if (y.kind === "zero") return x.sign ? quarterTurns(environment, y.sign, 4n) : zero(y.sign);
  if (x.kind === "zero") return quarterTurns(environment, y.sign, 2n);
  return arctangent(environment, y, x);
}
