import { lowAt, pageSize } from "./address-space.ts";
import type { FastRandom } from "./fast-random.ts";
import type { Bitness } from "./instruction-forms.ts";
import { randomWord } from "./operand-pool.ts";
import type { RegisterContents } from "./register-contents.ts";

/** ModRM (without reg) and what follows it. */
export interface Address {
  readonly modRm: number;
  readonly sib: number | undefined;
  /** Bytes of displacement: 0, 1, 2 or 4. */
  readonly displacementSize: number;
  readonly displacement: number;
  /** The displacement is what leads from the end of the instruction to this linear address. */
  readonly relativeTo: number | undefined;
  readonly rexX: boolean;
  readonly rexB: boolean;
  /** Segment override and 67. */
  readonly prefixes: readonly number[];
}

const none = { sib: undefined, relativeTo: undefined, rexX: false, rexB: false, prefixes: [] } as const;
const gs = 0x65;
const addressSize = 0x67;
const ignoredSegments = [0x26, 0x2e, 0x36, 0x3e] as const;

/** A displacement that keeps the alignment of 16 in most cases where that matters. */
function displacement(random: FastRandom, size: number): number {
  const distance = random.chance(0.9) ? random.between(-128, 127) : random.between(-1500, 1500);
  return size >= 16 && random.chance(0.9) ? distance & ~15 : distance;
}

/** ModRM, SIB and displacement for base + (index << scale) + displacement with 32 or 64-bit addresses. */
function based(
  random: FastRandom,
  base: number,
  index: number | undefined,
  scale: number,
  distance: number,
  prefixes: readonly number[],
): Address {
  // A base like RBP cannot do without a displacement; any can have a longer one than it needs.
  const fits = distance >= -128 && distance <= 127;
  const size = distance === 0 && (base & 7) !== 5 && random.chance(0.8) ? 0 : fits && random.chance(0.9) ? 1 : 4;
  const mod = size === 0 ? 0 : size === 1 ? 0x40 : 0x80;
  const withSib = index !== undefined || (base & 7) === 4 || random.chance(0.05);
  const place = { displacementSize: size, displacement: distance, relativeTo: undefined, rexB: base >= 8, prefixes };
  if (!withSib) return { ...place, modRm: mod | (base & 7), sib: undefined, rexX: false };
  const sib = (scale << 6) | (((index ?? 4) & 7) << 3) | (base & 7);
  return { ...place, modRm: mod | 4, sib, rexX: (index ?? 0) >= 8 };
}

/** A displacement of 32 bits and no base; with an index if one is given. */
function absolute(
  bitness: Bitness,
  address: number,
  index: number | undefined,
  scale: number,
  prefixes: readonly number[],
): Address {
  const place = { ...none, displacementSize: 4, displacement: address | 0, prefixes };
  if (bitness === 32 && index === undefined) return { ...place, modRm: 5 };
  return { ...place, modRm: 4, sib: (scale << 6) | (((index ?? 4) & 7) << 3) | 5, rexX: (index ?? 0) >= 8 };
}

const lowPlace = (random: FastRandom, size: number): number => lowAt + pageSize + displacement(random, size);

/** 16-bit addresses lead nowhere, so that a #PF tells what they were. */
function narrow(random: FastRandom): Address {
  const mod = random.below(3);
  const rm = random.below(8);
  const displacementSize = mod === 1 ? 1 : mod === 2 || rm === 6 ? 2 : 0;
  return { ...none, modRm: (mod << 6) | rm, displacementSize, displacement: random.u32() | 0, prefixes: [addressSize] };
}

/**
 * A memory operand of `size` bytes; most lie in the pages that there are. undefined: no register holds an address, the
 * caller must provide one.
 */
export function randomAddress(
  random: FastRandom,
  bitness: Bitness,
  registers: RegisterContents,
  size: number,
): Address | undefined {
  const die = random.below(100);
  const distance = displacement(random, size);
  const small = registers.find((content, register) => content === "small" && register !== 4);
  const scale = random.below(size >= 16 ? 2 : 4);
  if (die < 2) {
    // Anywhere. NOTE: not in GS: to some processors what is far below its base is not canonical.
    const index = random.below(registers.count);
    const base = random.below(registers.count);
    return based(random, base, index === 4 ? undefined : index, scale, randomWord(random) | 0, []);
  }
  if (die < 4 && bitness === 32) return narrow(random);
  if (die < 9 && bitness === 64) {
    return { ...none, modRm: 5, displacementSize: 4, displacement: 0, relativeTo: lowPlace(random, size) };
  }
  if (die < 12) return absolute(bitness, lowPlace(random, size), random.chance(0.5) ? small : undefined, scale, []);
  if (die < 14 && bitness === 64) {
    if (small !== undefined && random.chance(0.5)) return based(random, small, undefined, 0, distance, [gs]);
    return absolute(bitness, distance, undefined, 0, [gs]);
  }
  if (die < 17) {
    // With 32-bit addresses in 64-bit mode; in 32-bit mode the prefix would make them 16-bit ones.
    const low = registers.find((content) => content === "low");
    if (low === undefined) return undefined;
    return based(
      random,
      low,
      random.chance(0.4) ? small : undefined,
      scale,
      distance,
      bitness === 64 ? [addressSize] : [],
    );
  }
  const base = registers.find((content) => content === "low" || content === "high");
  if (base === undefined) return undefined;
  const index = size < 16 || random.chance(0.2) ? random.chance(0.3) : false;
  const segment = random.chance(0.03) ? [random.pick(ignoredSegments)] : [];
  return based(random, base, index ? small : undefined, scale, distance, segment);
}
