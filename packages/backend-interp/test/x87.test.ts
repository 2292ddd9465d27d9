import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { floatHelpers } from "../src/float/index.ts";
import { GuestInstructions } from "./support/guest-instructions.ts";
import { type InstructionCase, type InstructionOutcome, NativeInstructions } from "./support/native-instructions.ts";
import { Random } from "./support/random.ts";
import { describe87, randomImage, X87Interpreter } from "./support/x87-cases.ts";

const isAmd = readFileSync("/proc/cpuinfo", "utf8").includes("AuthenticAMD");
const status = { c0: 0x100, c1: 0x200, c2: 0x400, c3: 0x4000, precision: 0x20 } as const;

interface X87Case extends InstructionCase {
  readonly name: string;
  readonly opcode: number;
  readonly modrm: number;
}

/** D9 F0 to FF without FXTRACT, FPREM, FDECSTP and the like: results may differ in the last bit. */
const transcendental = new Set([0xf0, 0xf1, 0xf2, 0xf3, 0xf9, 0xfb, 0xfe, 0xff]);

function isTranscendental(item: X87Case): boolean {
  return item.opcode === 0xd9 && transcendental.has(item.modrm);
}

/** One ModRM for each memory instruction, three registers for each group, all of D9 and DB. */
function instructions(): [opcode: number, modrm: number][] {
  const result: [number, number][] = [];
  for (let opcode = 0xd8; opcode <= 0xdf; opcode++) {
    for (let group = 0; group < 8; group++) result.push([opcode, (group << 3) | 7]);
    const all = opcode === 0xd9 || opcode === 0xdb;
    for (let modrm = 0xc0; modrm < 0x100; modrm++) if (all || (modrm & 7) < 3) result.push([opcode, modrm]);
  }
  return result;
}

function randomOperand(random: Random, opcode: number, modrm: number): Uint8Array {
  const memory = random.bytes(128);
  const view = new DataView(memory.buffer);
  const group = modrm >> 3;
  if (modrm >= 0xc0) return memory;
  if (opcode === 0xd8 || (opcode === 0xd9 && group < 4)) view.setUint32(0, random.single(), true);
  else if (opcode === 0xdc || (opcode === 0xdd && group < 4)) view.setBigUint64(0, random.double(), true);
  else if (opcode === 0xdf && group === 4) {
    for (let byte = 0; byte < 9; byte++) memory[byte] = random.below(10) * 16 + random.below(10);
  } else if (opcode === 0xdb && group === 5) {
    const [significand, signAndExponent] = random.extended();
    view.setBigUint64(0, significand, true);
    view.setUint16(8, signAndExponent, true);
  } else if (random.chance(0.3)) memory.fill(0, 1, 8);
  return memory;
}

function randomCase(random: Random, opcode: number, modrm: number): X87Case {
  return {
    name: `${opcode.toString(16)} ${modrm.toString(16)}`,
    opcode,
    modrm,
    code: Uint8Array.of(opcode, modrm),
    image: randomImage(random),
    memory: randomOperand(random, opcode, modrm),
    registers: new BigUint64Array(4),
    flags: 0x202n | (random.u64() & 0x8d5n),
  };
}

/** Environment and state images hold pointers to the last instruction, which the runner's buffer decides. */
function storesPointers({ opcode, modrm }: X87Case): boolean {
  const group = modrm >> 3;
  return modrm < 0xc0 && ((opcode === 0xd9 && group === 6) || (opcode === 0xdd && group === 6));
}

/** Operands outside the instruction's documented range have no defined result. */
function isOutOfRange(item: X87Case): boolean {
  if (item.opcode !== 0xd9 || (item.modrm !== 0xf0 && item.modrm !== 0xf9)) return false;
  const exponent = new DataView(item.image.buffer).getUint16(40, true) & 0x7fff;
  return exponent >= 0x3ffd && exponent !== 0x7fff;
}

/** Status bits that processors of other makers than AMD may leave otherwise, because the manuals do not define them. */
function undefinedBits({ opcode, modrm }: X87Case): number {
  const group = modrm >> 3;
  if (modrm >= 0xc0) {
    if (opcode === 0xd9 && (modrm === 0xe5 || modrm === 0xf5 || modrm === 0xf8)) return 0;
    const compares = group === 0x1a || group === 0x1b || group === 0x1c || group === 0x1d || modrm === 0xe4;
    return compares ? status.c1 : status.c0 | status.c1 | status.c2 | status.c3;
  }
  if ((opcode & 1) === 0 && (group === 2 || group === 3)) return status.c1;
  return (opcode & 5) === 1 && group >= 4 ? 0 : status.c0 | status.c2 | status.c3;
}

/** Distance of two 80-bit numbers of the same sign in units of the last place; values as hexadecimal digits. */
function distance(first: string, second: string): bigint {
  const ordinal = (digits: string): bigint => {
    const value = BigInt(`0x${digits}`);
    const exponent = (value >> 64n) & 0x7fffn;
    const magnitude = (exponent << 63n) + (value & ((1n << 63n) - 1n));
    return value >> 79n ? -magnitude : magnitude;
  };
  const difference = ordinal(first) - ordinal(second);
  return difference < 0n ? -difference : difference;
}

function compareApproximately(mine: Record<string, string>, expected: Record<string, string>, name: string): void {
  for (const [key, value] of Object.entries(expected)) {
    const own = mine[key] as string;
    if (key === "st0" || key === "st1")
      expect(distance(own, value) <= 1n, `${name}: ${key} ${own} ${value}`).toBe(true);
    else if (key === "status") {
      // The direction of rounding, and whether an exact result counts as one, follow the last bit.
      const relevant = ~(status.c1 | status.precision | 0x10 | (isAmd ? 0 : status.c0 | status.c3)) & 0x7fff;
      expect(Number.parseInt(own, 16) & relevant, name).toBe(Number.parseInt(value, 16) & relevant);
    } else expect(own, `${name}: ${key}`).toBe(value);
  }
}

function run(seed: number, count: number): { item: X87Case; mine: InstructionOutcome; expected: InstructionOutcome }[] {
  using native = new NativeInstructions();
  const random = new Random(seed);
  const cases = instructions()
    .flatMap(([opcode, modrm]) => Array.from({ length: count }, () => randomCase(random, opcode, modrm)))
    .filter((item) => !storesPointers(item) && !isOutOfRange(item));
  const outcomes = native.run(cases);
  const interpreter = new X87Interpreter(floatHelpers);
  return cases.map((item, index) => ({
    item,
    mine: interpreter.run(item),
    expected: outcomes[index] as InstructionOutcome,
  }));
}

// For a long run: CPR_FLOAT_ROUNDS (cases for each instruction) and CPR_FLOAT_SEED in the environment.
describe("x87 instructions compared with this machine's processor", () => {
  const rounds = Number(process.env["CPR_FLOAT_ROUNDS"] ?? 24);
  const results = run(Number(process.env["CPR_FLOAT_SEED"] ?? 11), rounds);

  test("arithmetic, loads, stores, comparisons and stack faults agree in every bit", () => {
    const exact = results.filter(({ item }) => !isTranscendental(item));
    expect(exact.length).toBeGreaterThan(200 * rounds);
    for (const { item, mine, expected } of exact) {
      const mask = isAmd ? 0 : undefinedBits(item);
      expect(describe87(mine, mask), item.name).toEqual(describe87(expected, mask));
    }
  });

  test("the decoder and the core hand them to their helpers", () => {
    const guest = new GuestInstructions();
    const some = results.filter(({ item }, index) => index % 8 === 0 && !isTranscendental(item));
    expect(some.length).toBeGreaterThan(500);
    for (const { item, expected } of some) {
      const mask = isAmd ? 0 : undefinedBits(item);
      expect(describe87(guest.run(item), mask), item.name).toEqual(describe87(expected, mask));
    }
  });

  test("transcendental instructions are within one unit in the last place", () => {
    const inexact = results.filter(({ item }) => isTranscendental(item));
    expect(inexact.length).toBeGreaterThan(5 * rounds);
    for (const { item, mine, expected } of inexact) {
      compareApproximately(describe87(mine), describe87(expected), item.name);
    }
  });
});
