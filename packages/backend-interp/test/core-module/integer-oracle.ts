/** What integer instructions do, by the SDM's text and with BigInt: nothing here is shared with the implementation. */

export type Width = 8 | 16 | 32 | 64;
export const widths: readonly Width[] = [8, 16, 32, 64];

export const CF = 0x001;
export const PF = 0x004;
export const AF = 0x010;
export const ZF = 0x040;
export const SF = 0x080;
export const OF = 0x800;
export const allFlags = CF | PF | AF | ZF | SF | OF;

export const unsigned = (width: number, value: bigint) => BigInt.asUintN(width, value);
export const signed = (width: number, value: bigint) => BigInt.asIntN(width, value);

/** A result and the flags with it; flags outside `defined` may be anything, those outside `changed` keep their values. */
export interface Outcome {
  readonly result: bigint;
  readonly flags: number;
  readonly changed: number;
  readonly defined: number;
}

const when = (condition: boolean, flag: number) => (condition ? flag : 0);
const bit = (value: bigint, index: number) => Number((value >> BigInt(index)) & 1n);

function ones(value: bigint): number {
  let count = 0;
  for (let rest = value; rest !== 0n; rest >>= 1n) count += Number(rest & 1n);
  return count;
}

/** ZF, SF and PF. */
export function resultFlags(width: number, result: bigint): number {
  return (
    when(unsigned(width, result) === 0n, ZF) |
    when(bit(result, width - 1) === 1, SF) |
    when(ones(result & 0xffn) % 2 === 0, PF)
  );
}

export function add(width: number, x: bigint, y: bigint, carry: bigint): Outcome {
  const sum = unsigned(width, x) + unsigned(width, y) + carry;
  const exact = signed(width, x) + signed(width, y) + carry;
  const result = unsigned(width, sum);
  const flags =
    resultFlags(width, result) |
    when(sum >> BigInt(width) !== 0n, CF) |
    when(signed(width, result) !== exact, OF) |
    when((x & 15n) + (y & 15n) + carry > 15n, AF);
  return { result, flags, changed: allFlags, defined: allFlags };
}

export function subtract(width: number, x: bigint, y: bigint, borrow: bigint): Outcome {
  const difference = unsigned(width, x) - unsigned(width, y) - borrow;
  const exact = signed(width, x) - signed(width, y) - borrow;
  const result = unsigned(width, difference);
  const flags =
    resultFlags(width, result) |
    when(difference < 0n, CF) |
    when(signed(width, result) !== exact, OF) |
    when((x & 15n) - (y & 15n) - borrow < 0n, AF);
  return { result, flags, changed: allFlags, defined: allFlags };
}

export function logical(width: number, value: bigint): Outcome {
  const result = unsigned(width, value);
  return { result, flags: resultFlags(width, result), changed: allFlags, defined: allFlags & ~AF };
}

const masked = (width: number, count: number) => count & (width === 64 ? 63 : 31);
const unchanged = (result: bigint): Outcome => ({ result, flags: 0, changed: 0, defined: 0 });

export function shift(kind: "left" | "right" | "arithmetic", width: number, value: bigint, count: number): Outcome {
  const n = masked(width, count);
  const x = unsigned(width, value);
  if (n === 0) return unchanged(x);
  // One step at a time, as the SDM's pseudocode does it.
  let result = x;
  let carry = 0;
  for (let step = 0; step < n; step++) {
    if (kind === "left") {
      carry = bit(result, width - 1);
      result = unsigned(width, result << 1n);
    } else {
      carry = bit(result, 0);
      result = kind === "right" ? result >> 1n : unsigned(width, signed(width, result) >> 1n);
    }
  }
  const top = bit(result, width - 1);
  const overflow = kind === "left" ? top ^ carry : kind === "right" ? bit(x, width - 1) : 0;
  return {
    result,
    flags: resultFlags(width, result) | when(carry === 1, CF) | when(overflow === 1, OF),
    changed: allFlags,
    defined: (allFlags & ~(AF | OF | CF)) | (n <= width || kind === "arithmetic" ? CF : 0) | (n === 1 ? OF : 0),
  };
}

export function rotate(kind: "left" | "right", width: number, value: bigint, count: number): Outcome {
  const n = masked(width, count);
  const x = unsigned(width, value);
  if (n === 0) return unchanged(x);
  let result = x;
  for (let step = 0; step < n % width; step++) {
    result =
      kind === "left"
        ? unsigned(width, result << 1n) | BigInt(bit(result, width - 1))
        : (result >> 1n) | (BigInt(bit(result, 0)) << BigInt(width - 1));
  }
  const carry = kind === "left" ? bit(result, 0) : bit(result, width - 1);
  const overflow = kind === "left" ? bit(result, width - 1) ^ carry : carry ^ bit(result, width - 2);
  return {
    result,
    flags: when(carry === 1, CF) | when(overflow === 1, OF),
    changed: CF | OF,
    defined: CF | (n === 1 ? OF : 0),
  };
}

export function rotateThroughCarry(
  kind: "left" | "right",
  width: number,
  value: bigint,
  count: number,
  carryIn: number,
): Outcome {
  const n = masked(width, count) % (width === 8 || width === 16 ? width + 1 : 65);
  let result = unsigned(width, value);
  let carry = carryIn;
  const overflowBefore = bit(result, width - 1) ^ carry;
  for (let step = 0; step < n; step++) {
    if (kind === "left") {
      const next = bit(result, width - 1);
      result = unsigned(width, (result << 1n) | BigInt(carry));
      carry = next;
    } else {
      const next = bit(result, 0);
      result = (result >> 1n) | (BigInt(carry) << BigInt(width - 1));
      carry = next;
    }
  }
  const overflow = kind === "left" ? bit(result, width - 1) ^ carry : overflowBefore;
  return {
    result,
    flags: when(carry === 1, CF) | when(overflow === 1, OF),
    changed: masked(width, count) === 0 ? 0 : CF | OF,
    defined: CF | (masked(width, count) === 1 ? OF : 0),
  };
}

/** Undefined for counts above the width (16 bits only): then `defined` is 0 and the result counts for nothing. */
export function shiftDouble(
  kind: "left" | "right",
  width: number,
  value: bigint,
  filler: bigint,
  count: number,
): Outcome & { readonly resultDefined: boolean } {
  const n = masked(width, count);
  const x = unsigned(width, value);
  if (n === 0) return { ...unchanged(x), resultDefined: true };
  const w = BigInt(width);
  const joined = kind === "left" ? (x << w) | unsigned(width, filler) : (unsigned(width, filler) << w) | x;
  const result = kind === "left" ? unsigned(width, (joined << BigInt(n)) >> w) : unsigned(width, joined >> BigInt(n));
  const carry = kind === "left" ? bit(joined, 2 * width - n) : bit(joined, n - 1);
  const overflow = bit(x, width - 1) ^ bit(result, width - 1);
  return {
    result,
    flags: resultFlags(width, result) | when(carry === 1, CF) | when(overflow === 1, OF),
    changed: allFlags,
    defined: n > width ? 0 : (allFlags & ~(AF | OF)) | (n === 1 ? OF : 0),
    resultDefined: n <= width,
  };
}

/** Condition codes 0 to 15. */
export function condition(code: number, flags: number): boolean {
  const has = (flag: number) => (flags & flag) !== 0;
  const base = [
    has(OF),
    has(CF),
    has(ZF),
    has(CF) || has(ZF),
    has(SF),
    has(PF),
    has(SF) !== has(OF),
    has(ZF) || has(SF) !== has(OF),
  ][code >> 1] as boolean;
  return (code & 1) === 0 ? base : !base;
}

/** What a register of 64 bits holds after its low part was written. */
export function written(width: Width, before: bigint, value: bigint): bigint {
  if (width === 64) return unsigned(64, value);
  if (width === 32) return unsigned(32, value);
  const mask = (1n << BigInt(width)) - 1n;
  return (before & ~mask) | (value & mask);
}

/** Numbers that are often at the edge of something, and ones that are not; the same in every run. */
export class Random {
  #state = 0x9e37_79b9_7f4a_7c15n;

  next(): bigint {
    let x = this.#state;
    x ^= unsigned(64, x << 13n);
    x ^= x >> 7n;
    x ^= unsigned(64, x << 17n);
    this.#state = x;
    return unsigned(64, x * 0x2545_f491_4f6c_dd1dn);
  }

  below(limit: number): number {
    return Number(this.next() % BigInt(limit));
  }

  operand(): bigint {
    const choice = this.below(6);
    if (choice === 0) return unsigned(64, BigInt(this.below(5) - 2));
    if (choice === 1) {
      const edge = 1n << BigInt([7, 8, 15, 16, 31, 32, 63][this.below(7)] as number);
      return unsigned(64, edge + BigInt(this.below(3) - 1));
    }
    if (choice === 2) return unsigned(64, signed(32, this.next()));
    return this.next();
  }

  flags(): number {
    return (this.below(0x1000) & allFlags) | 2;
  }
}
