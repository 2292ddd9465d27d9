/** Reproducible random numbers (xorshift128+), with the operands that floating-point code stumbles over. */
export class Random {
  #a: bigint;
  #b: bigint;

  constructor(seed: number) {
    this.#a = BigInt(seed) * 0x9e3779b97f4a7c15n + 1n;
    this.#b = this.#a ^ 0xdeadbeefcafef00dn;
    for (let n = 0; n < 16; n++) this.u64();
  }

  u64(): bigint {
    let x = BigInt.asUintN(64, this.#a);
    const y = BigInt.asUintN(64, this.#b);
    this.#a = y;
    x ^= BigInt.asUintN(64, x << 23n);
    x ^= x >> 17n;
    x ^= y ^ (y >> 26n);
    this.#b = x;
    return BigInt.asUintN(64, x + y);
  }

  /** An integer from 0 to limit - 1. */
  below(limit: number): number {
    return Number((this.u64() >> 11n) % BigInt(limit));
  }

  chance(probability: number): boolean {
    return this.below(1 << 20) < probability * (1 << 20);
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }

  bytes(length: number): Uint8Array {
    const result = new Uint8Array(length);
    for (let at = 0; at < length; at++) result[at] = this.below(256);
    return result;
  }

  /** Significand and exponent of an 80-bit number. */
  extended(): [bigint, number] {
    const sign = this.below(2) << 15;
    const top = 1n << 63n;
    switch (this.below(16)) {
      case 0:
        return [0n, sign];
      case 1:
        return [top, sign | 0x7fff];
      case 2:
        return [top | (this.u64() >> 1n), sign | 0x7fff];
      case 3:
        return [top | (this.u64() >> 2n) | 1n, sign | 0x7fff];
      case 4:
        return [this.u64() >> BigInt(this.below(64)), sign];
      case 5:
        return [this.u64() >> 1n, sign | this.below(0x8000)];
      case 6:
        return [top, sign | (0x3fff + this.below(5) - 2)];
      case 7:
        return [top | (this.u64() & (0xffn << 55n)), sign | (0x3fff + this.below(9) - 2)];
      case 8:
        return [top | (this.u64() >> 1n), sign | this.below(0x7fff)];
      case 9:
        return [top | (this.u64() >> 1n), sign | this.pick([1, 2, 0x7ffe, 0x7ffd, 0x3fff - 1022, 0x3fff + 1023])];
      case 10:
        return [top | (this.u64() >> 1n), sign | (0x3fff + this.below(140) - 70)];
      default:
        return [top | (this.u64() >> 1n), sign | (0x3fff + this.below(8) - 4)];
    }
  }

  double(): bigint {
    const sign = BigInt(this.below(2)) << 63n;
    const fraction = this.u64() & 0xfffffffffffffn;
    switch (this.below(14)) {
      case 0:
        return sign;
      case 1:
        return sign | 0x7ff0000000000000n;
      case 2:
        return sign | 0x7ff8000000000000n | fraction;
      case 3:
        return sign | 0x7ff0000000000000n | (fraction >> 1n) | 1n;
      case 4:
        return sign | (fraction >> BigInt(this.below(52)));
      case 5:
        return sign | (BigInt(this.below(0x7ff)) << 52n) | fraction;
      case 6:
        return sign | 0x7fe0000000000000n | fraction;
      case 7:
        return sign | 0x0010000000000000n | fraction;
      case 8:
      case 9:
        return sign | (BigInt(1023 + this.below(64)) << 52n) | (fraction & (0xffn << 44n));
      default:
        return sign | (BigInt(1023 + this.below(10) - 5) << 52n) | fraction;
    }
  }

  single(): number {
    const sign = this.below(2) << 31;
    const fraction = this.below(1 << 23);
    switch (this.below(14)) {
      case 0:
        return sign >>> 0;
      case 1:
        return (sign | 0x7f800000) >>> 0;
      case 2:
        return (sign | 0x7fc00000 | fraction) >>> 0;
      case 3:
        return (sign | 0x7f800000 | (fraction >> 1) | 1) >>> 0;
      case 4:
        return (sign | (fraction >> this.below(23))) >>> 0;
      case 5:
        return (sign | (this.below(0xff) << 23) | fraction) >>> 0;
      case 6:
        return (sign | 0x7f000000 | fraction) >>> 0;
      case 7:
        return (sign | 0x00800000 | fraction) >>> 0;
      case 8:
      case 9:
        return (sign | ((127 + this.below(64)) << 23) | (fraction & 0x7f0000)) >>> 0;
      default:
        return (sign | ((127 + this.below(10) - 5) << 23) | fraction) >>> 0;
    }
  }
}
