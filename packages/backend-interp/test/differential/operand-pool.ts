import type { FastRandom } from "./fast-random.ts";

const corners32 = [
  0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff,
] as const;
/** Upper words of doubles and whole singles that arithmetic stumbles over: zeros, infinities, NaNs, subnormals, limits, ones. */
const cornersDouble = [
  0, 0x80000000, 0x7ff00000, 0xfff00000, 0x7ff80000, 0x7ff00001, 0x00000001, 0x00100000, 0x7fefffff,
] as const;
const cornersSingle = [
  0, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00001, 0x7f800001, 1, 0x00800000, 0x7f7fffff,
] as const;

/** A 32-bit integer that is small, at a limit, or anything. */
export function randomWord(random: FastRandom): number {
  switch (random.below(5)) {
    case 0:
      return random.pick(corners32);
    case 1:
      return random.below(256);
    case 2:
      return -random.below(256) >>> 0;
    default:
      return random.u32();
  }
}

/** A single whose exponent is close to that of 1, so that sums do not lose one side, or a corner. */
function randomSingle(random: FastRandom): number {
  if (random.chance(0.25)) return random.pick(cornersSingle);
  const sign = random.chance(0.5) ? 0x80000000 : 0;
  const exponent = random.chance(0.8) ? random.between(120, 135) : random.below(256);
  const fraction = random.chance(0.3) ? random.below(8) << 20 : random.below(1 << 23);
  return (sign | (exponent << 23) | fraction) >>> 0;
}

/** Upper and lower word of a double. */
function randomDouble(random: FastRandom, words: Uint32Array, at: number): void {
  if (random.chance(0.25)) {
    words[at + 1] = random.pick(cornersDouble);
    words[at] = random.pick([0, 0, 1, 0xffffffff]);
    return;
  }
  const sign = random.chance(0.5) ? 0x80000000 : 0;
  const exponent = random.chance(0.8) ? random.between(1016, 1090) : random.below(2048);
  words[at + 1] = (sign | (exponent << 20) | random.below(1 << 20)) >>> 0;
  words[at] = random.chance(0.4) ? 0 : random.u32();
}

/** Writes 16 bytes: integers, singles, doubles, an 80-bit number, or a short text. */
export function randomCell(random: FastRandom, words: Uint32Array, at: number): void {
  switch (random.below(6)) {
    case 0:
      for (let index = 0; index < 4; index++) words[at + index] = randomSingle(random);
      break;
    case 1:
      randomDouble(random, words, at);
      randomDouble(random, words, at + 2);
      break;
    case 2:
      randomExtended(random, words, at);
      words[at + 3] = random.u32();
      break;
    case 3:
      for (let index = 0; index < 4; index++) {
        let letters = 0;
        for (let letter = 0; letter < 4; letter++)
          letters = (letters << 8) | (random.chance(0.1) ? 0 : random.between(0x61, 0x64));
        words[at + index] = letters;
      }
      break;
    default:
      for (let index = 0; index < 4; index++) words[at + index] = randomWord(random);
  }
}

/** An 80-bit number in three words; the upper half of the last is zero. */
export function randomExtended(random: FastRandom, words: Uint32Array, at: number): void {
  const sign = random.chance(0.5) ? 0x8000 : 0;
  words[at] = random.chance(0.4) ? 0 : random.u32();
  words[at + 1] = (random.chance(0.3) ? 0x80000000 : random.u32() | 0x80000000) >>> 0;
  const kind = random.below(12);
  if (kind === 0) {
    words[at] = 0;
    words[at + 1] = 0;
    words[at + 2] = sign;
  } else if (kind === 1) {
    words[at + 2] = sign | 0x7fff;
    if (random.chance(0.5)) words.fill(0, at, at + 1).fill(0x80000000, at + 1, at + 2);
  } else if (kind === 2) {
    // Subnormal, pseudo-subnormal, unnormal: any significand with any exponent.
    words[at + 1] = random.u32();
    words[at + 2] = sign | (random.chance(0.5) ? 0 : random.below(0x8000));
  } else if (kind === 3) words[at + 2] = sign | random.below(0x8000);
  else words[at + 2] = sign | random.between(0x3fff - 40, 0x3fff + 70);
}
