/**
 * Binary floating point in software, with what IEEE 754 leaves to the implementation done as x86 does it (Intel SDM
 * Vol. 1 §4.8 and §4.9, AMD APM Vol. 1 §4.8): six exceptions, tininess detected after rounding, the NaN rules of x87 and
 * of SSE, the response to unmasked overflow and underflow. Exact significands are BigInts; one rounding at the end.
 */

/** Exception bits, as in the x87 status and control words and in MXCSR. */
export const floatException = {
  invalid: 1,
  denormal: 2,
  zeroDivide: 4,
  overflow: 8,
  underflow: 16,
  precision: 32,
} as const;

/** Rounding control, as encoded in the control word and MXCSR. */
export const roundingControl = { nearest: 0, down: 1, up: 2, zero: 3 } as const;

/** A binary format: bits of significand including the leading one, exponents of the least and greatest normal numbers. */
export interface FloatFormat {
  readonly precision: number;
  readonly minExponent: number;
  readonly maxExponent: number;
  /** What the exponent changes by when an unmasked overflow or underflow is answered with a scaled result; 0: there is no result then. */
  readonly scaling: number;
}

export const single: FloatFormat = { precision: 24, minExponent: -126, maxExponent: 127, scaling: 0 };
export const double: FloatFormat = { precision: 53, minExponent: -1022, maxExponent: 1023, scaling: 0 };
export const extended: FloatFormat = { precision: 64, minExponent: -16382, maxExponent: 16383, scaling: 24576 };
/** Extended range with the significand rounded as precision control says (encoding of the control word; 1 is reserved and means 3). */
export const precisionControlled: readonly FloatFormat[] = [
  { ...extended, precision: 24 },
  extended,
  { ...extended, precision: 53 },
  extended,
];

/** "unsupported": pseudo-infinity, pseudo-NaN, unnormal (x87 only). */
export type FloatKind = "zero" | "finite" | "infinity" | "quiet" | "signaling" | "unsupported";

/** An unpacked number. Finite: (-1)^sign × significand × 2^exponent. NaN: 64 bits of significand, left-aligned, leading bit set. */
export interface Float {
  readonly kind: FloatKind;
  readonly sign: 0 | 1;
  readonly exponent: number;
  readonly significand: bigint;
  /** Encoded with the exponent field 0 (x87's pseudo-denormals too). */
  readonly denormal: boolean;
}

/** Rounding, masks and flags of one operation. */
export class FloatEnvironment {
  /** Encoded as `roundingControl`. */
  rounding = 0;
  /** Set bits: masked exceptions. */
  masks = 0x3f;
  /** Exceptions that arose; the caller clears them. */
  flags = 0;
  /** The last rounding increased the magnitude (x87's C1). */
  roundedUp = false;
  /** Results that are tiny become zero (MXCSR.FZ). */
  flushToZero = false;
  /** Which NaN wins: x87 takes the greater significand, SSE the first operand. */
  nanRule: "x87" | "sse" = "x87";
}

const quietBit = 1n << 62n;
const topBit = 1n << 63n;
const mask64 = (1n << 64n) - 1n;

export const defaultNaN: Float = {
  kind: "quiet",
  sign: 1,
  exponent: 0,
  significand: topBit | quietBit,
  denormal: false,
};

export const zero = (sign: 0 | 1): Float => (sign ? minusZero : plusZero);
export const infinity = (sign: 0 | 1): Float => (sign ? minusInfinity : plusInfinity);
const plusZero: Float = { kind: "zero", sign: 0, exponent: 0, significand: 0n, denormal: false };
const minusZero: Float = { ...plusZero, sign: 1 };
const plusInfinity: Float = { kind: "infinity", sign: 0, exponent: 0, significand: topBit, denormal: false };
const minusInfinity: Float = { ...plusInfinity, sign: 1 };

/** An exact finite number (or zero). */
export function finite(sign: 0 | 1, significand: bigint, exponent: number): Float {
  return significand === 0n ? zero(sign) : { kind: "finite", sign, exponent, significand, denormal: false };
}

const scratch = new DataView(new ArrayBuffer(8));

/** Number of significant bits of a non-negative integer. */
export function bitLength(value: bigint): number {
  if (value === 0n) return 0;
  const approximation = Number(value);
  if (approximation === Infinity) return value.toString(2).length;
  scratch.setFloat64(0, approximation);
  const high = scratch.getUint32(0);
  const length = (high >>> 20) - 1022;
  // NOTE: the conversion may have rounded up to the next power of two.
  if ((high & 0xfffff) === 0 && scratch.getUint32(4) === 0 && value >> BigInt(length - 1) === 0n) return length - 1;
  return length;
}

/** Bits of a binary32. */
export function unpackSingle(bits: number): Float {
  const sign = (bits >>> 31) as 0 | 1;
  const exponent = (bits >>> 23) & 0xff;
  const fraction = bits & 0x7fffff;
  if (exponent === 0xff) {
    if (fraction === 0) return infinity(sign);
    const significand = topBit | (BigInt(fraction) << 40n);
    return { kind: fraction & 0x400000 ? "quiet" : "signaling", sign, exponent: 0, significand, denormal: false };
  }
  if (exponent === 0) {
    if (fraction === 0) return zero(sign);
    return { kind: "finite", sign, exponent: -149, significand: BigInt(fraction), denormal: true };
  }
  return {
    kind: "finite",
    sign,
    exponent: exponent - 150,
    significand: BigInt(fraction | 0x800000),
    denormal: false,
  };
}

/** Bits of a binary64. */
export function unpackDouble(bits: bigint): Float {
  const sign = bits >> 63n ? 1 : 0;
  const exponent = Number((bits >> 52n) & 0x7ffn);
  const fraction = bits & 0xfffffffffffffn;
  if (exponent === 0x7ff) {
    if (fraction === 0n) return infinity(sign);
    const significand = topBit | (fraction << 11n);
    return { kind: significand & quietBit ? "quiet" : "signaling", sign, exponent: 0, significand, denormal: false };
  }
  if (exponent === 0) {
    if (fraction === 0n) return zero(sign);
    return { kind: "finite", sign, exponent: -1074, significand: fraction, denormal: true };
  }
  return {
    kind: "finite",
    sign,
    exponent: exponent - 1075,
    significand: fraction | 0x10000000000000n,
    denormal: false,
  };
}

/** The two parts of an 80-bit number. */
export function unpackExtended(significand: bigint, signAndExponent: number): Float {
  const sign = ((signAndExponent >>> 15) & 1) as 0 | 1;
  const exponent = signAndExponent & 0x7fff;
  if (exponent === 0) {
    if (significand === 0n) return zero(sign);
    return { kind: "finite", sign, exponent: -16445, significand, denormal: true };
  }
  if (!(significand & topBit)) return { kind: "unsupported", sign, exponent: 0, significand, denormal: false };
  if (exponent === 0x7fff) {
    if (significand === topBit) return infinity(sign);
    return { kind: significand & quietBit ? "quiet" : "signaling", sign, exponent: 0, significand, denormal: false };
  }
  return { kind: "finite", sign, exponent: exponent - 16446, significand, denormal: false };
}

/** Aligns a finite number that the format holds exactly: [exponent field, significand of `precision` bits]. */
function align(value: Float, format: FloatFormat): [number, bigint] {
  const top = value.exponent + bitLength(value.significand) - 1;
  const exponent = Math.max(top, format.minExponent);
  const shift = value.exponent - (exponent - format.precision + 1);
  const significand = shift >= 0 ? value.significand << BigInt(shift) : value.significand >> BigInt(-shift);
  return [top < format.minExponent ? 0 : exponent + format.maxExponent, significand];
}

export function packSingle(value: Float): number {
  const sign = value.sign << 31;
  switch (value.kind) {
    case "zero":
      return sign >>> 0;
    case "infinity":
      return (sign | 0x7f800000) >>> 0;
    case "finite": {
      const [exponent, significand] = align(value, single);
      return (sign | (exponent << 23) | (Number(significand) & 0x7fffff)) >>> 0;
    }
    default:
      return (sign | 0x7f800000 | (Number(value.significand >> 40n) & 0x7fffff)) >>> 0;
  }
}

export function packDouble(value: Float): bigint {
  const sign = value.sign ? topBit : 0n;
  switch (value.kind) {
    case "zero":
      return sign;
    case "infinity":
      return sign | 0x7ff0000000000000n;
    case "finite": {
      const [exponent, significand] = align(value, double);
      return sign | (BigInt(exponent) << 52n) | (significand & 0xfffffffffffffn);
    }
    default:
      return sign | 0x7ff0000000000000n | ((value.significand >> 11n) & 0xfffffffffffffn);
  }
}

/** [significand, sign and exponent]. */
export function packExtended(value: Float): [bigint, number] {
  const sign = value.sign << 15;
  switch (value.kind) {
    case "zero":
      return [0n, sign];
    case "finite": {
      const [exponent, significand] = align(value, extended);
      return [significand & mask64, sign | exponent];
    }
    default:
      return [value.significand, sign | 0x7fff];
  }
}

/** value × 2^-shift, rounded to an integer; notes inexactness. */
function roundShift(environment: FloatEnvironment, sign: 0 | 1, value: bigint, shift: number): bigint {
  environment.roundedUp = false;
  if (shift <= 0) return value << BigInt(-shift);
  const bits = BigInt(shift);
  const quotient = value >> bits;
  const rest = value - (quotient << bits);
  if (rest === 0n) return quotient;
  environment.flags |= floatException.precision;
  let up: boolean;
  switch (environment.rounding) {
    case roundingControl.nearest: {
      const half = 1n << (bits - 1n);
      up = rest > half || (rest === half && (quotient & 1n) === 1n);
      break;
    }
    case roundingControl.down:
      up = sign === 1;
      break;
    case roundingControl.up:
      up = sign === 0;
      break;
    default:
      up = false;
  }
  environment.roundedUp = up;
  return up ? quotient + 1n : quotient;
}

/**
 * Rounds (-1)^sign × significand × 2^exponent (significand > 0; exact, or with a last bit that stands for what was left
 * away, at least two bits beyond the precision) to the format, with overflow and underflow.
 */
export function round(
  environment: FloatEnvironment,
  format: FloatFormat,
  sign: 0 | 1,
  significand: bigint,
  exponent: number,
): Float {
  const { overflow, underflow, precision } = floatException;
  const excess = bitLength(significand) - format.precision;
  let last = exponent + excess;
  const least = format.minExponent - format.precision + 1;
  const before = environment.flags & precision;
  environment.flags &= ~precision;
  let result = roundShift(environment, sign, significand, excess);
  if (last < least && !(last === least - 1 && result >> BigInt(format.precision) !== 0n)) {
    // Tiny: below the normal range even when rounded as if the range had no end.
    const masked = (environment.masks & underflow) !== 0;
    if (!masked) {
      environment.flags |= underflow | before;
      return normalize(environment, format, sign, result, last + format.scaling);
    }
    if (environment.flushToZero) {
      environment.flags |= underflow | precision;
      environment.roundedUp = false;
      return zero(sign);
    }
    environment.flags &= ~precision;
    last = least;
    result = roundShift(environment, sign, significand, last - exponent);
    if (environment.flags & precision) environment.flags |= underflow;
    environment.flags |= before;
    return finite(sign, result, last);
  }
  if (last < least) {
    // Rounded up to the least normal number.
    environment.flags &= ~precision;
    last = least;
    result = roundShift(environment, sign, significand, last - exponent);
  }
  environment.flags |= before;
  const top = last + bitLength(result) - 1;
  if (top > format.maxExponent) {
    environment.flags |= overflow;
    if (!(environment.masks & overflow)) {
      return normalize(environment, format, sign, result, last - format.scaling);
    }
    environment.flags |= precision;
    const { rounding } = environment;
    const toInfinity =
      rounding === roundingControl.nearest || rounding === (sign ? roundingControl.down : roundingControl.up);
    environment.roundedUp = toInfinity;
    if (toInfinity) return infinity(sign);
    return finite(sign, (1n << BigInt(format.precision)) - 1n, format.maxExponent - format.precision + 1);
  }
  return finite(sign, result, last);
}

/**
 * The answer to an unmasked overflow or underflow: a scaled result; infinity or zero if even that is out of range. Formats without scaling
 * (SSE's) have no result then: nobody looks at it.
 */
function normalize(
  environment: FloatEnvironment,
  format: FloatFormat,
  sign: 0 | 1,
  significand: bigint,
  exponent: number,
): Float {
  const top = exponent + bitLength(significand) - 1;
  if (format.scaling === 0) return zero(sign);
  if (top <= format.maxExponent && top >= format.minExponent) return finite(sign, significand, exponent);
  environment.flags |= floatException.precision;
  environment.roundedUp = top > format.maxExponent;
  return top > format.maxExponent ? infinity(sign) : zero(sign);
}

export function isNaNKind(value: Float): boolean {
  return value.kind === "quiet" || value.kind === "signaling";
}

export function quieted(value: Float): Float {
  return value.kind === "signaling" ? { ...value, kind: "quiet", significand: value.significand | quietBit } : value;
}

/** Invalid operation: the default NaN. */
export function invalid(environment: FloatEnvironment): Float {
  environment.flags |= floatException.invalid;
  return defaultNaN;
}

/** The NaN that results if an operand is one (or is unsupported); otherwise undefined, with the denormal flag seen to by the caller. */
export function propagate(environment: FloatEnvironment, a: Float, b: Float): Float | undefined {
  if (a.kind === "unsupported" || b.kind === "unsupported") return invalid(environment);
  const aIs = isNaNKind(a);
  const bIs = isNaNKind(b);
  if (!aIs && !bIs) return undefined;
  if (a.kind === "signaling" || b.kind === "signaling") environment.flags |= floatException.invalid;
  if (environment.nanRule === "sse") return quieted(aIs ? a : b);
  if (!bIs) return quieted(a);
  if (!aIs) return quieted(b);
  if (a.kind !== b.kind) return a.kind === "quiet" ? a : b;
  if (a.significand !== b.significand) return quieted(a.significand > b.significand ? a : b);
  return quieted(a.sign === 0 ? a : b);
}

function noteDenormals(environment: FloatEnvironment, a: Float, b: Float): void {
  if (a.denormal || b.denormal) environment.flags |= floatException.denormal;
}

/** Beyond this distance of exponents the smaller addend only matters for rounding. */
const farApart = 300;

export function add(environment: FloatEnvironment, format: FloatFormat, a: Float, b: Float): Float {
  return addSigned(environment, format, a, b, 0);
}

export function subtract(environment: FloatEnvironment, format: FloatFormat, a: Float, b: Float): Float {
  return addSigned(environment, format, a, b, 1);
}

function addSigned(environment: FloatEnvironment, format: FloatFormat, a: Float, b: Float, negate: 0 | 1): Float {
  const nan = propagate(environment, a, b);
  if (nan) return nan;
  const bSign = (b.sign ^ negate) as 0 | 1;
  if (a.kind === "infinity" && b.kind === "infinity") {
    return a.sign === bSign ? a : invalid(environment);
  }
  noteDenormals(environment, a, b);
  if (a.kind === "infinity") return a;
  if (b.kind === "infinity") return infinity(bSign);
  const cancelled = (environment.rounding === roundingControl.down ? 1 : 0) as 0 | 1;
  if (a.kind === "zero" && b.kind === "zero") return zero(a.sign === bSign ? a.sign : cancelled);
  if (a.kind === "zero") return round(environment, format, bSign, b.significand, b.exponent);
  if (b.kind === "zero") return round(environment, format, a.sign, a.significand, a.exponent);
  let aValue = a.significand;
  let bValue = b.significand;
  let exponent: number;
  const distance = a.exponent - b.exponent;
  if (distance > farApart) {
    exponent = a.exponent - 140;
    aValue <<= 140n;
    bValue = 1n;
  } else if (distance < -farApart) {
    exponent = b.exponent - 140;
    bValue <<= 140n;
    aValue = 1n;
  } else if (distance >= 0) {
    exponent = b.exponent;
    aValue <<= BigInt(distance);
  } else {
    exponent = a.exponent;
    bValue <<= BigInt(-distance);
  }
  const sum = (a.sign ? -aValue : aValue) + (bSign ? -bValue : bValue);
  if (sum === 0n) return zero(cancelled);
  return sum < 0n ? round(environment, format, 1, -sum, exponent) : round(environment, format, 0, sum, exponent);
}

export function multiply(environment: FloatEnvironment, format: FloatFormat, a: Float, b: Float): Float {
  const nan = propagate(environment, a, b);
  if (nan) return nan;
  const sign = (a.sign ^ b.sign) as 0 | 1;
  if (a.kind === "infinity" || b.kind === "infinity") {
    if (a.kind === "zero" || b.kind === "zero") return invalid(environment);
    noteDenormals(environment, a, b);
    return infinity(sign);
  }
  noteDenormals(environment, a, b);
  if (a.kind === "zero" || b.kind === "zero") return zero(sign);
  return round(environment, format, sign, a.significand * b.significand, a.exponent + b.exponent);
}

export function divide(environment: FloatEnvironment, format: FloatFormat, a: Float, b: Float): Float {
  const nan = propagate(environment, a, b);
  if (nan) return nan;
  const sign = (a.sign ^ b.sign) as 0 | 1;
  if (a.kind === "infinity") {
    if (b.kind === "infinity") return invalid(environment);
    noteDenormals(environment, a, b);
    return infinity(sign);
  }
  if (b.kind === "zero") {
    if (a.kind === "zero") return invalid(environment);
    environment.flags |= floatException.zeroDivide;
    return infinity(sign);
  }
  noteDenormals(environment, a, b);
  if (a.kind === "zero" || b.kind === "infinity") return zero(sign);
  // At least 66 bits of quotient whatever the operands' lengths; the rest goes into a sticky bit.
  const shift = 68 + Math.max(0, bitLength(b.significand) - bitLength(a.significand));
  const numerator = a.significand << BigInt(shift);
  const quotient = numerator / b.significand;
  const sticky = quotient * b.significand === numerator ? 0n : 1n;
  return round(environment, format, sign, (quotient << 1n) | sticky, a.exponent - b.exponent - shift - 1);
}

/** Integer square root, rounded down. */
export function integerSquareRoot(value: bigint): bigint {
  if (value < 2n) return value;
  let guess = 1n << BigInt((bitLength(value) + 1) >> 1);
  for (;;) {
    const next = (guess + value / guess) >> 1n;
    if (next >= guess) return guess;
    guess = next;
  }
}

export function squareRoot(environment: FloatEnvironment, format: FloatFormat, a: Float): Float {
  const nan = propagate(environment, a, plusZero);
  if (nan) return nan;
  if (a.kind === "zero") return a;
  if (a.sign) return invalid(environment);
  noteDenormals(environment, a, a);
  if (a.kind === "infinity") return a;
  let shift = Math.max(0, 136 - bitLength(a.significand));
  if ((a.exponent - shift) & 1) shift++;
  const value = a.significand << BigInt(shift);
  const root = integerSquareRoot(value);
  const sticky = root * root === value ? 0n : 1n;
  return round(environment, format, 0, (root << 1n) | sticky, (a.exponent - shift) / 2 - 1);
}

/** -1, 0, 1: less, equal, greater; 2: unordered. Raises invalid for signaling NaNs, and if not `quiet` for quiet ones. */
export function compare(environment: FloatEnvironment, a: Float, b: Float, quiet: boolean): -1 | 0 | 1 | 2 {
  if (a.kind === "unsupported" || b.kind === "unsupported") {
    environment.flags |= floatException.invalid;
    return 2;
  }
  if (isNaNKind(a) || isNaNKind(b)) {
    if (!quiet || a.kind === "signaling" || b.kind === "signaling") environment.flags |= floatException.invalid;
    return 2;
  }
  noteDenormals(environment, a, b);
  return order(a, b);
}

/** Order of two numbers that are not NaNs. */
function order(a: Float, b: Float): -1 | 0 | 1 {
  if (a.kind === "zero" && b.kind === "zero") return 0;
  if (a.kind === "zero") return b.sign ? 1 : -1;
  if (b.kind === "zero") return a.sign ? -1 : 1;
  if (a.sign !== b.sign) return a.sign ? -1 : 1;
  const magnitude = orderMagnitudes(a, b);
  return (a.sign ? -magnitude || 0 : magnitude) as -1 | 0 | 1;
}

function orderMagnitudes(a: Float, b: Float): -1 | 0 | 1 {
  if (a.kind === "infinity") return b.kind === "infinity" ? 0 : 1;
  if (b.kind === "infinity") return -1;
  const aTop = a.exponent + bitLength(a.significand);
  const bTop = b.exponent + bitLength(b.significand);
  if (aTop !== bTop) return aTop < bTop ? -1 : 1;
  const distance = a.exponent - b.exponent;
  const aValue = distance > 0 ? a.significand << BigInt(distance) : a.significand;
  const bValue = distance < 0 ? b.significand << BigInt(-distance) : b.significand;
  return aValue < bValue ? -1 : aValue > bValue ? 1 : 0;
}

/** Another format's value in this one: NaNs are quieted. The denormal flag only if `noteDenormal`. */
export function convert(environment: FloatEnvironment, format: FloatFormat, a: Float, noteDenormal: boolean): Float {
  const nan = propagate(environment, a, plusZero);
  if (nan) return nan;
  if (a.kind !== "finite") return a;
  if (noteDenormal) noteDenormals(environment, a, a);
  return round(environment, format, a.sign, a.significand, a.exponent);
}

/** Rounded to an integral value. */
export function roundToIntegral(environment: FloatEnvironment, a: Float): Float {
  environment.roundedUp = false;
  const nan = propagate(environment, a, plusZero);
  if (nan) return nan;
  if (a.kind !== "finite") return a;
  noteDenormals(environment, a, a);
  if (a.exponent >= 0) return a;
  return finite(a.sign, roundShift(environment, a.sign, a.significand, Math.min(-a.exponent, 1100)), 0);
}

/**
 * As a signed integer of so many bits; undefined, with the invalid flag, if it has no such value. The denormal flag is
 * not concerned (no conversion to integer raises it).
 */
export function toInteger(environment: FloatEnvironment, a: Float, bits: number): bigint | undefined {
  environment.roundedUp = false;
  if (a.kind === "zero") return 0n;
  const before = environment.flags;
  if (a.kind === "finite" && a.exponent + bitLength(a.significand) <= 66) {
    // NOTE: a value of 2^-1100 rounds like one of 2^-16445: only "not zero" matters.
    const shift = Math.min(-a.exponent, 1100);
    const magnitude = roundShift(environment, a.sign, a.significand, shift);
    const value = a.sign ? -magnitude : magnitude;
    if (value === BigInt.asIntN(bits, value)) return value;
  }
  environment.flags = before | floatException.invalid;
  environment.roundedUp = false;
  return undefined;
}

/** An integer as an exact number. */
export function fromInteger(value: bigint): Float {
  return value < 0n ? finite(1, -value, 0) : finite(0, value, 0);
}
