/**
 * The vector operations that compute with floating-point numbers, exactly and with all exceptions: for what the fast way
 * (semantics/vector/floats.ts) cannot prove to be plain. Intel SDM Vol. 1 §11.5, AMD APM Vol. 1 §4.10.
 */
import { cr4At, mxcsrAt } from "../layout.ts";
import { field, helperResult } from "../operations.ts";
import type { Helper, ProcessorCore } from "../processor-interface.ts";
import { vectorOperations } from "../vector-operations.ts";
import {
  add,
  compare,
  convert,
  divide,
  double,
  type Float,
  FloatEnvironment,
  type FloatFormat,
  floatException,
  fromInteger,
  multiply,
  packDouble,
  packSingle,
  round,
  roundingControl,
  roundToIntegral,
  single,
  squareRoot,
  subtract,
  toInteger,
  unpackDouble,
  unpackSingle,
  zero,
} from "./soft-float.ts";
import { reciprocal, reciprocalSquareRoot } from "./vector-approximations.ts";

const denormalsAreZero = 0x40;
const osxmmexcpt = 1n << 10n;
const early = floatException.invalid | floatException.denormal | floatException.zeroDivide;

type Type = "single" | "double";
type Binary = (environment: FloatEnvironment, format: FloatFormat, a: Float, b: Float) => Float;

/** The XMM registers as numbers, and MXCSR. */
export class VectorUnit {
  readonly processor: ProcessorCore;
  readonly environment = new FloatEnvironment();
  #flushOperands = false;

  constructor(processor: ProcessorCore) {
    this.processor = processor;
    this.environment.nanRule = "sse";
  }

  get mxcsr(): number {
    return this.processor.core.u32[mxcsrAt >> 2] as number;
  }

  begin(): FloatEnvironment {
    const { environment, mxcsr } = this;
    environment.rounding = (mxcsr >> 13) & 3;
    environment.masks = (mxcsr >> 7) & 0x3f;
    environment.flushToZero = (mxcsr & 0x8000) !== 0;
    environment.flags = 0;
    this.#flushOperands = (mxcsr & denormalsAreZero) !== 0;
    return environment;
  }

  /** Sets MXCSR's flags; raises #XM (#UD if the operating system does not expect it) if one is not masked. Results are written afterwards. */
  finish(): void {
    const { environment, processor } = this;
    // An exception found before computing, if unmasked, keeps all elements from computing.
    if (environment.flags & early & ~environment.masks) environment.flags &= early;
    const mxcsr = this.mxcsr | environment.flags;
    processor.core.u32[mxcsrAt >> 2] = mxcsr;
    if (environment.flags & ~environment.masks) {
      processor.raise((processor.core.u64[cr4At >> 3] as bigint) & osxmmexcpt ? 19 : 6);
    }
  }

  #flushed(value: Float): Float {
    return this.#flushOperands && value.denormal ? zero(value.sign) : value;
  }

  /** Element `lane` at a slot. */
  read(type: Type, slot: number, lane: number): Float {
    const { u32, u64 } = this.processor.core;
    return this.#flushed(
      type === "single"
        ? unpackSingle(u32[(slot >> 2) + lane] as number)
        : unpackDouble(u64[(slot >> 3) + lane] as bigint),
    );
  }

  /** A result as the operand of a further operation. */
  reread(type: Type, value: Float): Float {
    return this.#flushed(type === "single" ? unpackSingle(packSingle(value)) : unpackDouble(packDouble(value)));
  }

  write(type: Type, slot: number, lane: number, value: Float): void {
    const { u32, u64 } = this.processor.core;
    if (type === "single") u32[(slot >> 2) + lane] = packSingle(value);
    else u64[(slot >> 3) + lane] = packDouble(value);
  }
}

const formats = { single, double } as const;

/** An operation's slots and immediate. */
interface Operands {
  readonly d: number;
  readonly s: number;
  readonly immediate: number;
}

type Implementation = (unit: VectorUnit, operands: Operands) => void;

const lanesOf = (type: Type, packed: boolean): number => (packed ? (type === "single" ? 4 : 2) : 1);

/** Computes all elements, then raises exceptions, then writes. */
function elementwise(
  type: Type,
  packed: boolean,
  compute: (unit: VectorUnit, operands: Operands, lane: number) => Float,
): Implementation {
  const count = lanesOf(type, packed);
  return (unit, operands) => {
    unit.begin();
    const results: Float[] = [];
    for (let lane = 0; lane < count; lane++) results.push(compute(unit, operands, lane));
    unit.finish();
    results.forEach((value, lane) => {
      unit.write(type, operands.d, lane, value);
    });
  };
}

/** The four types of an operation, by their names. */
function fourTypes(
  name: string,
  compute: (type: Type) => (unit: VectorUnit, operands: Operands, lane: number) => Float,
): [string, Implementation][] {
  return [
    [`${name}ps`, elementwise("single", true, compute("single"))],
    [`${name}pd`, elementwise("double", true, compute("double"))],
    [`${name}ss`, elementwise("single", false, compute("single"))],
    [`${name}sd`, elementwise("double", false, compute("double"))],
  ];
}

function arithmetic(name: string, operation: Binary): [string, Implementation][] {
  return fourTypes(
    name,
    (type) =>
      (unit, { d, s }, lane) =>
        operation(unit.environment, formats[type], unit.read(type, d, lane), unit.read(type, s, lane)),
  );
}

/** MIN (-1) and MAX (1). */
function extreme(name: string, wanted: -1 | 1): [string, Implementation][] {
  return fourTypes(name, (type) => (unit, { d, s }, lane) => {
    const a = unit.read(type, d, lane);
    const b = unit.read(type, s, lane);
    return compare(unit.environment, a, b, false) === wanted ? a : b;
  });
}

/** Whether a comparison's outcome satisfies one of the eight predicates. */
function satisfies(outcome: -1 | 0 | 1 | 2, predicate: number): boolean {
  const base = predicate & 3;
  const holds =
    base === 0
      ? outcome === 0
      : base === 1
        ? outcome === -1
        : base === 2
          ? outcome === -1 || outcome === 0
          : outcome === 2;
  return holds !== ((predicate & 4) !== 0);
}

function comparison(name: string, type: Type, packed: boolean): [string, Implementation] {
  const count = lanesOf(type, packed);
  return [
    name,
    (unit, { d, s, immediate }) => {
      const environment = unit.begin();
      const predicate = immediate & 7;
      const quiet = (predicate & 3) === 0 || (predicate & 3) === 3;
      const results: boolean[] = [];
      for (let lane = 0; lane < count; lane++) {
        const outcome = compare(environment, unit.read(type, d, lane), unit.read(type, s, lane), quiet);
        results.push(satisfies(outcome, predicate));
      }
      unit.finish();
      const { u32, u64 } = unit.processor.core;
      results.forEach((holds, lane) => {
        if (type === "single") u32[(d >> 2) + lane] = holds ? 0xffffffff : 0;
        else u64[(d >> 3) + lane] = holds ? 0xffffffffffffffffn : 0n;
      });
    },
  ];
}

function flagComparison(type: Type, quiet: boolean): Implementation {
  return (unit, { d, s }) => {
    const environment = unit.begin();
    const outcome = compare(environment, unit.read(type, d, 0), unit.read(type, s, 0), quiet);
    unit.finish();
    const flags = outcome === 2 ? 0x45 : outcome === 0 ? 0x40 : outcome < 0 ? 1 : 0;
    const { processor } = unit;
    processor.writeFlags((processor.readFlags() & ~0x8d5) | flags);
  };
}

/** Sums or differences of neighbours. */
function horizontal(type: Type, operation: Binary): Implementation {
  const half = type === "single" ? 2 : 1;
  return elementwise(type, true, (unit, { d, s }, lane) => {
    const slot = lane < half ? d : s;
    const first = 2 * (lane % half);
    return operation(unit.environment, formats[type], unit.read(type, slot, first), unit.read(type, slot, first + 1));
  });
}

function alternating(type: Type): Implementation {
  return elementwise(type, true, (unit, { d, s }, lane) =>
    (lane & 1 ? add : subtract)(unit.environment, formats[type], unit.read(type, d, lane), unit.read(type, s, lane)),
  );
}

function rounding(name: string, type: Type, packed: boolean): [string, Implementation] {
  return [
    name,
    elementwise(type, packed, (unit, { s, immediate }, lane) => {
      const { environment } = unit;
      if (!(immediate & 4)) environment.rounding = immediate & 3;
      const before = environment.flags;
      const result = roundToIntegral(environment, unit.read(type, s, lane));
      const raised = floatException.invalid | (immediate & 8 ? 0 : floatException.precision);
      environment.flags = before | (environment.flags & raised);
      return result;
    }),
  ];
}

/** Integers of 32 or 64 bits; what does not fit becomes the integer indefinite. */
function integers(
  unit: VectorUnit,
  type: Type,
  slot: number,
  count: number,
  bits: 32 | 64,
  truncate: boolean,
): bigint[] {
  const environment = unit.begin();
  if (truncate) environment.rounding = roundingControl.zero;
  const results: bigint[] = [];
  for (let lane = 0; lane < count; lane++) {
    const value = toInteger(environment, unit.read(type, slot, lane), bits);
    results.push(BigInt.asUintN(bits, value ?? 1n << BigInt(bits - 1)));
  }
  unit.finish();
  return results;
}

function toGeneral(type: Type, bits: 32 | 64, truncate: boolean): Implementation {
  return (unit, { d, s }) => {
    unit.processor.core.u64[d >> 3] = integers(unit, type, s, 1, bits, truncate)[0] as bigint;
  };
}

function toIntegers(type: Type, truncate: boolean): Implementation {
  return (unit, { d, s }) => {
    const count = type === "single" ? 4 : 2;
    const results = integers(unit, type, s, count, 32, truncate);
    const { u32 } = unit.processor.core;
    for (let lane = 0; lane < 4; lane++) u32[(d >> 2) + lane] = Number(results[lane] ?? 0n);
  };
}

function fromGeneral(type: Type, bits: 32 | 64): Implementation {
  return elementwise(type, false, (unit, { s }) => {
    const value = BigInt.asIntN(bits, unit.processor.core.u64[s >> 3] as bigint);
    return rounded(unit, type, value);
  });
}

function rounded(unit: VectorUnit, type: Type, value: bigint): Float {
  const exact = fromInteger(value);
  if (exact.kind === "zero") return exact;
  return round(unit.environment, formats[type], exact.sign, exact.significand, 0);
}

function between(from: Type, to: Type, packed: boolean): Implementation {
  const count = packed ? 2 : 1;
  return (unit, { d, s }) => {
    const environment = unit.begin();
    const results: Float[] = [];
    for (let lane = 0; lane < count; lane++) {
      results.push(convert(environment, formats[to], unit.read(from, s, lane), true));
    }
    unit.finish();
    if (packed && to === "single") unit.processor.core.u64[(d >> 3) + 1] = 0n;
    results.forEach((value, lane) => {
      unit.write(to, d, lane, value);
    });
  };
}

/** DPPS, DPPD: products that bits 7:4 select, their sum to the elements that bits 3:0 select. */
function dotProduct(type: Type): Implementation {
  const format = formats[type];
  const count = lanesOf(type, true);
  return (unit, { d, s, immediate }) => {
    const environment = unit.begin();
    const products: Float[] = [];
    for (let lane = 0; lane < count; lane++) {
      products.push(
        (immediate >> (4 + lane)) & 1
          ? unit.reread(type, multiply(environment, format, unit.read(type, d, lane), unit.read(type, s, lane)))
          : zero(0),
      );
    }
    // The intermediate results raise their exceptions before those of the sums are looked at.
    unit.finish();
    const [p0, p1, p2, p3] = products as [Float, Float, Float, Float];
    let sum = unit.reread(type, add(environment, format, p0, p1));
    if (type === "single") {
      sum = add(environment, format, sum, unit.reread(type, add(environment, format, p2, p3)));
    }
    unit.finish();
    for (let lane = 0; lane < count; lane++) unit.write(type, d, lane, (immediate >> lane) & 1 ? sum : zero(0));
  };
}

/** MPSADBW: eight sums of absolute differences of four bytes. */
const sumsOfDifferences: Implementation = (unit, { d, s, immediate }) => {
  const { u8, u16 } = unit.processor.core;
  const first = u8.slice(d, d + 16);
  const second = u8.slice(s, s + 16);
  const firstAt = immediate & 4 ? 4 : 0;
  const secondAt = (immediate & 3) * 4;
  for (let lane = 0; lane < 8; lane++) {
    let sum = 0;
    for (let byte = 0; byte < 4; byte++) {
      sum += Math.abs((first[firstAt + lane + byte] as number) - (second[secondAt + byte] as number));
    }
    u16[(d >> 1) + lane] = sum;
  }
};

/** RCP and RSQRT raise no exceptions. */
function approximation(packed: boolean, compute: (bits: number) => number): Implementation {
  return (unit, { d, s }) => {
    const { u32 } = unit.processor.core;
    for (let lane = 0; lane < (packed ? 4 : 1); lane++) u32[(d >> 2) + lane] = compute(u32[(s >> 2) + lane] as number);
  };
}

const implementations = new Map<string, Implementation>([
  ...arithmetic("add", add),
  ...arithmetic("sub", subtract),
  ...arithmetic("mul", multiply),
  ...arithmetic("div", divide),
  ...fourTypes(
    "sqrt",
    (type) =>
      (unit, { s }, lane) =>
        squareRoot(unit.environment, formats[type], unit.read(type, s, lane)),
  ),
  ...extreme("min", -1),
  ...extreme("max", 1),
  comparison("cmpps", "single", true),
  comparison("cmppd", "double", true),
  comparison("cmpss", "single", false),
  comparison("cmpsd", "double", false),
  ["comiss", flagComparison("single", false)],
  ["comisd", flagComparison("double", false)],
  ["ucomiss", flagComparison("single", true)],
  ["ucomisd", flagComparison("double", true)],
  ["haddps", horizontal("single", add)],
  ["haddpd", horizontal("double", add)],
  ["hsubps", horizontal("single", subtract)],
  ["hsubpd", horizontal("double", subtract)],
  ["addsubps", alternating("single")],
  ["addsubpd", alternating("double")],
  rounding("roundps", "single", true),
  rounding("roundpd", "double", true),
  rounding("roundss", "single", false),
  rounding("roundsd", "double", false),
  ["cvtsi2ss", fromGeneral("single", 32)],
  ["cvtsi2ss64", fromGeneral("single", 64)],
  ["cvtsi2sd", fromGeneral("double", 32)],
  ["cvtsi2sd64", fromGeneral("double", 64)],
  ["cvttss2si", toGeneral("single", 32, true)],
  ["cvttss2si64", toGeneral("single", 64, true)],
  ["cvttsd2si", toGeneral("double", 32, true)],
  ["cvttsd2si64", toGeneral("double", 64, true)],
  ["cvtss2si", toGeneral("single", 32, false)],
  ["cvtss2si64", toGeneral("single", 64, false)],
  ["cvtsd2si", toGeneral("double", 32, false)],
  ["cvtsd2si64", toGeneral("double", 64, false)],
  ["cvtps2pd", between("single", "double", true)],
  ["cvtpd2ps", between("double", "single", true)],
  ["cvtss2sd", between("single", "double", false)],
  ["cvtsd2ss", between("double", "single", false)],
  [
    "cvtdq2ps",
    elementwise("single", true, (unit, { s }, lane) =>
      rounded(unit, "single", BigInt(unit.processor.core.i32[(s >> 2) + lane] as number)),
    ),
  ],
  ["cvtps2dq", toIntegers("single", false)],
  ["cvttps2dq", toIntegers("single", true)],
  ["cvtpd2dq", toIntegers("double", false)],
  ["cvttpd2dq", toIntegers("double", true)],
  ["dpps", dotProduct("single")],
  ["dppd", dotProduct("double")],
  ["mpsadbw", sumsOfDifferences],
  ["rcpps", approximation(true, reciprocal)],
  ["rcpss", approximation(false, reciprocal)],
  ["rsqrtps", approximation(true, reciprocalSquareRoot)],
  ["rsqrtss", approximation(false, reciprocalSquareRoot)],
]);

/** Executes a vector operation by its name; false if it is not one of these. */
export function executeExactly(unit: VectorUnit, name: string, operands: Operands): boolean {
  const implementation = implementations.get(name);
  if (implementation === undefined) return false;
  implementation(unit, operands);
  return true;
}

/** Helper `vector-exact`. */
export function vectorExactHelper(unit: VectorUnit): Helper {
  const { u8, u16, u32 } = unit.processor.core;
  const byNumber = vectorOperations.map(({ name }) => implementations.get(name));
  return (operation) => {
    const implementation = byNumber[u16[(operation + field.auxiliary) >> 1] as number];
    if (implementation === undefined) return unit.processor.raise(6);
    implementation(unit, {
      d: u32[(operation + field.destination) >> 2] as number,
      s: u32[(operation + field.source) >> 2] as number,
      immediate: u8[operation + field.immediate] as number,
    });
    return helperResult.next;
  };
}
