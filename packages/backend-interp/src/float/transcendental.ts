/**
 * The functions behind x87's transcendental instructions (Intel SDM Vol. 1 §8.3.7), computed in fixed point with enough
 * guard bits that the one rounding at the end is right except in ties closer than 2^-60 of a unit. The callers deal with
 * special operands; here operands are finite and not zero.
 */
import { bitLength, extended, type Float, type FloatEnvironment, integerSquareRoot, round } from "./soft-float.ts";

/** Fraction bits of the fixed-point numbers for arguments around one. */
const fraction = 224;
const bits = BigInt(fraction);
const one = 1n << bits;

/** π·2^fraction by Machin's formula. */
const pi = (4n * (4n * arctangentOfInverse(5n) - arctangentOfInverse(239n))) >> 32n;
/** ln 2 = 2 atanh(1/3). */
const ln2 = (2n * hyperbolicArctangentOfInverse(3n)) >> 32n;

function arctangentOfInverse(n: bigint): bigint {
  let power = (1n << (bits + 32n)) / n;
  let sum = power;
  for (let k = 3n, sign = -1n; power !== 0n; k += 2n, sign = -sign) {
    power /= n * n;
    sum += (sign * power) / k;
  }
  return sum;
}

function hyperbolicArctangentOfInverse(n: bigint): bigint {
  let power = (1n << (bits + 32n)) / n;
  let sum = power;
  for (let k = 3n; power !== 0n; k += 2n) {
    power /= n * n;
    sum += power / k;
  }
  return sum;
}

/** significand·2^exponent as a fixed-point number with `places` fraction bits, cut. */
function toFixed(significand: bigint, exponent: number, places: number): bigint {
  const shift = exponent + places;
  return shift >= 0 ? significand << BigInt(shift) : significand >> BigInt(-shift);
}

/** Rounds a fixed-point number that is inexact (a transcendental result always is). */
function roundFixed(environment: FloatEnvironment, value: bigint, places: number): Float {
  const magnitude = value < 0n ? -value : value;
  return round(environment, extended, value < 0n ? 1 : 0, (magnitude << 1n) | 1n, -places - 1);
}

/** A number whose distance from significand·2^exponent is too small for any bit but the sticky one: above (1) or below (-1) in magnitude. */
function roundNear(environment: FloatEnvironment, a: Float, direction: 1 | -1): Float {
  return round(environment, extended, a.sign, (a.significand << 140n) + BigInt(direction), a.exponent - 140);
}

/** Exponent of the leading bit. */
function leading(a: Float): number {
  return a.exponent + bitLength(a.significand) - 1;
}

/** The significand of π/2 that argument reduction uses, and its exponent: see {@link sine}. */
let reductionPi: { value: bigint; places: number } | undefined;

/**
 * NOTE: Intel's and AMD's processors reduce arguments by a π of 66 significant bits (Intel SDM Vol. 1 §8.3.8), which decides
 * what sines of large arguments and near multiples of π are. Compatible results matter more than true ones.
 */
function halfPi(): { value: bigint; places: number } {
  reductionPi ??= { value: pi >> BigInt(fraction - 64), places: 65 };
  return reductionPi;
}

/** Quadrant (mod 4), and the rest in [-π/4, π/4] as fixed point with `places` fraction bits. */
function reduce(a: Float): { quadrant: number; rest: bigint; places: number } {
  const { value, places } = halfPi();
  // Everything in units of 2^-scale: exact, as a is a finite binary number.
  const scale = Math.max(places, -a.exponent);
  const argument = a.significand << BigInt(a.exponent + scale);
  const half = value << BigInt(scale - places);
  const quotient = (argument * 2n + half) / (2n * half);
  let rest = argument - quotient * half;
  let quadrant = Number(quotient & 3n);
  if (a.sign) {
    rest = -rest;
    quadrant = (4 - quadrant) & 3;
  }
  return { quadrant, rest, places: scale };
}

/** sin and cos of a small fixed-point angle, both with `places` fraction bits. */
function sineAndCosine(angle: bigint, places: number): { sine: bigint; cosine: bigint } {
  const shift = BigInt(places);
  const square = (angle * angle) >> shift;
  let term = angle;
  let sine = angle;
  for (let k = 2n; term !== 0n && term !== -1n; k += 2n) {
    term = -((term * square) >> shift) / (k * (k + 1n));
    sine += term;
  }
  term = 1n << shift;
  let cosine = term;
  for (let k = 1n; term !== 0n && term !== -1n; k += 2n) {
    term = -((term * square) >> shift) / (k * (k + 1n));
    cosine += term;
  }
  return { sine, cosine };
}

/** Sine and cosine of the reduced angle, with as many fraction bits as its smallness needs. */
function circular(a: Float): { sine: bigint; cosine: bigint; places: number } {
  const reduced = reduce(a);
  const size = reduced.places - bitLength(reduced.rest < 0n ? -reduced.rest : reduced.rest);
  const places = Math.max(fraction, reduced.places, size + 140);
  const { sine, cosine } = sineAndCosine(reduced.rest << BigInt(places - reduced.places), places);
  switch (reduced.quadrant) {
    case 0:
      return { sine, cosine, places };
    case 1:
      return { sine: cosine, cosine: -sine, places };
    case 2:
      return { sine: -sine, cosine: -cosine, places };
    default:
      return { sine: -cosine, cosine: sine, places };
  }
}

/** Arguments below this are their own sine and tangent but for the last rounding. */
const tiny = -68;

/** FSIN; |a| < 2^63. */
export function sine(environment: FloatEnvironment, a: Float): Float {
  if (leading(a) < tiny) return roundNear(environment, a, -1);
  const { sine, places } = circular(a);
  return roundFixed(environment, sine, places);
}

export function cosine(environment: FloatEnvironment, a: Float): Float {
  if (leading(a) < tiny) {
    return round(environment, extended, 0, (1n << 140n) - 1n, -140);
  }
  const { cosine, places } = circular(a);
  return roundFixed(environment, cosine, places);
}

export function tangent(environment: FloatEnvironment, a: Float): Float {
  if (leading(a) < tiny) return roundNear(environment, a, 1);
  const { sine, cosine, places } = circular(a);
  const quotientPlaces = places + 140;
  return roundFixed(environment, (sine << BigInt(quotientPlaces)) / cosine, quotientPlaces);
}

/** atan(t), 0 ≤ t ≤ 1, fixed point. */
function arctangentFixed(t: bigint, places: number): bigint {
  const shift = BigInt(places);
  const unit = 1n << shift;
  let x = t;
  // Each halving: tan(θ/2) = x / (1 + √(1 + x²)).
  const halvings = 4;
  for (let n = 0; n < halvings; n++) {
    const root = integerSquareRoot((unit << shift) + x * x);
    x = (x << shift) / (unit + root);
  }
  const square = (x * x) >> shift;
  let power = x;
  let sum = x;
  for (let k = 3n; power !== 0n && power !== -1n; k += 2n) {
    power = -((power * square) >> shift);
    sum += power / k;
  }
  return sum << BigInt(halvings);
}

/** atan2(y, x), both finite and not zero. */
export function arctangent(environment: FloatEnvironment, y: Float, x: Float): Float {
  const difference = leading(y) - leading(x);
  const sign = y.sign;
  if (difference < -80 && x.sign === 0) {
    // As small as the quotient: y/x·(1 - tiny).
    const shift = 200 + Math.max(0, bitLength(x.significand) - bitLength(y.significand));
    const quotient = (y.significand << BigInt(shift)) / x.significand;
    const exact = quotient * x.significand === y.significand << BigInt(shift);
    return round(
      environment,
      extended,
      sign,
      (quotient << 1n) + (exact ? -1n : 1n),
      y.exponent - x.exponent - shift - 1,
    );
  }
  const places = fraction + Math.max(0, Math.min(-difference, 200));
  const unit = BigInt(places);
  // Quotient of the lesser by the greater, in fixed point.
  const swapped = difference > 0 || (difference === 0 && greater(y, x));
  const [numerator, denominator] = swapped ? [x, y] : [y, x];
  const distance = numerator.exponent - denominator.exponent + places;
  const quotient =
    distance >= 0
      ? (numerator.significand << BigInt(distance)) / denominator.significand
      : numerator.significand / (denominator.significand << BigInt(Math.min(-distance, 2000)));
  let angle = arctangentFixed(quotient, places);
  const straight = places > fraction ? pi << (unit - bits) : pi;
  if (swapped) angle = straight / 2n - angle;
  if (x.sign) angle = straight - angle;
  return roundFixed(environment, sign ? -angle : angle, places);
}

function greater(a: Float, b: Float): boolean {
  const distance = a.exponent - b.exponent;
  return distance >= 0
    ? a.significand << BigInt(distance) > b.significand
    : a.significand > b.significand << BigInt(-distance);
}

/** A multiple of π/4 with a sign: for FPATAN's special operands. */
export function quarterTurns(environment: FloatEnvironment, sign: 0 | 1, quarters: bigint): Float {
  const value = (pi * quarters) / 4n;
  return roundFixed(environment, sign ? -value : value, fraction);
}

/** 2^a - 1 for -1 < a < 1. */
export function exponentialMinusOne(environment: FloatEnvironment, a: Float): Float {
  const size = leading(a);
  if (size < -140) {
    // a·ln 2, with the next term far below.
    const sticky = a.sign ? -1n : 1n;
    return round(environment, extended, a.sign, ((a.significand * ln2) << 4n) + sticky, a.exponent - fraction - 4);
  }
  const places = fraction + Math.max(0, -size);
  const shift = BigInt(places);
  const wideLn2 = ln2 << (shift - bits);
  const argument = (toFixed(a.significand, a.exponent, places) * wideLn2) >> shift;
  const x = a.sign ? -argument : argument;
  let term = x;
  let sum = x;
  for (let k = 2n; term !== 0n && term !== -1n; k++) {
    term = ((term * x) >> shift) / k;
    sum += term;
  }
  return roundFixed(environment, sum, places);
}

/** ln of 1 + z where z is given as numerator/denominator of (m-1)/(m+1), as fixed point: 2 atanh(q). */
function logarithmFixed(quotient: bigint, places: number): bigint {
  const shift = BigInt(places);
  const square = (quotient * quotient) >> shift;
  let power = quotient;
  let sum = quotient;
  for (let k = 3n; power !== 0n && power !== -1n; k += 2n) {
    power = (power * square) >> shift;
    sum += power / k;
  }
  return sum * 2n;
}

/** y·log2(1 + ε) where 1 + ε = numerator/denominator-ish fixed value; `integer` is added to the logarithm first. */
function scaledLogarithm(
  environment: FloatEnvironment,
  y: Float,
  numerator: bigint,
  denominator: bigint,
  integer: number,
  places: number,
): Float {
  const shift = BigInt(places);
  const quotient = (numerator << shift) / denominator;
  const wideLn2 = places >= fraction ? ln2 << (shift - bits) : ln2 >> (bits - shift);
  const logarithm = (logarithmFixed(quotient, places) << shift) / wideLn2 + (BigInt(integer) << shift);
  const sign = ((logarithm < 0n ? 1 : 0) ^ y.sign) as 0 | 1;
  const magnitude = (logarithm < 0n ? -logarithm : logarithm) * y.significand;
  return round(environment, extended, sign, (magnitude << 1n) | 1n, y.exponent - places - 1);
}

/** y·log2(x), x > 0 and not a power of two (those are exact: the caller's affair). */
export function logarithm(environment: FloatEnvironment, y: Float, x: Float): Float {
  let exponent = leading(x);
  let value = toFixed(x.significand, x.exponent - exponent, fraction);
  // To [√½, √2), so that the series converges fast.
  if (value * value > one * one * 2n) {
    value >>= 1n;
    exponent += 1;
  }
  return scaledLogarithm(environment, y, value - one, value + one, exponent, fraction);
}

/** y·log2(1 + x) for |x| below 1 - √½. */
export function logarithmOfOnePlus(environment: FloatEnvironment, y: Float, x: Float): Float {
  const size = leading(x);
  const sign = (x.sign ^ y.sign) as 0 | 1;
  if (size < -140) {
    // x/ln 2·(1 - x/2 …)
    const quotient = (x.significand << (bits + bits)) / ln2;
    const sticky = x.sign ? 1n : -1n;
    return round(
      environment,
      extended,
      sign,
      ((quotient * y.significand) << 4n) + sticky,
      x.exponent - fraction + y.exponent - 4,
    );
  }
  const places = fraction + Math.max(0, -size);
  const magnitude = toFixed(x.significand, x.exponent, places);
  const value = x.sign ? -magnitude : magnitude;
  return scaledLogarithm(environment, y, value, (2n << BigInt(places)) + value, 0, places);
}

/** The constants that FLDL2T, FLDL2E, FLDPI, FLDLG2 and FLDLN2 push, rounded as the control word says. */
export function constant(environment: FloatEnvironment, which: "l2t" | "l2e" | "pi" | "lg2" | "ln2"): Float {
  const ln10 = 3n * ln2 + logarithmFixed(one / 9n, fraction);
  switch (which) {
    case "l2t":
      return roundFixed(environment, (ln10 << bits) / ln2, fraction);
    case "l2e":
      return roundFixed(environment, (one << bits) / ln2, fraction);
    case "pi":
      return roundFixed(environment, pi, fraction);
    case "lg2":
      return roundFixed(environment, (ln2 << bits) / ln10, fraction);
    default:
      return roundFixed(environment, ln2, fraction);
  }
}
