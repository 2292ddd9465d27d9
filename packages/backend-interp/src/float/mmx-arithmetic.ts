/** Arithmetic of MMX instructions on 64-bit values: SSE's integer operations at half their width (Intel SDM Vol. 1 §9). */

interface Lanes {
  readonly u64: BigUint64Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly u16: Uint16Array;
  readonly i16: Int16Array;
  readonly u8: Uint8Array;
  readonly i8: Int8Array;
}

function lanes(): Lanes {
  const buffer = new ArrayBuffer(8);
  return {
    u64: new BigUint64Array(buffer),
    u32: new Uint32Array(buffer),
    i32: new Int32Array(buffer),
    u16: new Uint16Array(buffer),
    i16: new Int16Array(buffer),
    u8: new Uint8Array(buffer),
    i8: new Int8Array(buffer),
  };
}

type Integers = Exclude<keyof Lanes, "u64">;

const a = lanes();
const b = lanes();
const r = lanes();

/** Computes r from a and b. */
type Operation = () => void;

const size: Readonly<Record<Integers, number>> = { u8: 8, i8: 8, u16: 4, i16: 4, u32: 2, i32: 2 };
const range: Readonly<Record<Integers, readonly [number, number]>> = {
  u8: [0, 0xff],
  i8: [-0x80, 0x7f],
  u16: [0, 0xffff],
  i16: [-0x8000, 0x7fff],
  u32: [0, 0xffffffff],
  i32: [-0x80000000, 0x7fffffff],
};

function saturate(type: Integers, value: number): number {
  const [least, greatest] = range[type];
  return Math.min(Math.max(value, least), greatest);
}

/** Element by element; results wrap. */
function each(type: Integers, compute: (first: number, second: number) => number): Operation {
  const count = size[type];
  return () => {
    for (let lane = 0; lane < count; lane++) {
      r[type][lane] = compute(a[type][lane] as number, b[type][lane] as number);
    }
  };
}

function eachSaturated(type: Integers, compute: (first: number, second: number) => number): Operation {
  return each(type, (first, second) => saturate(type, compute(first, second)));
}

function bits(compute: (first: bigint, second: bigint) => bigint): Operation {
  return () => {
    r.u64[0] = compute(a.u64[0] as bigint, b.u64[0] as bigint);
  };
}

function shift(type: Integers, arithmetic: boolean, compute: (value: number, count: number) => number): Operation {
  const width = 64 / size[type];
  return () => {
    const wanted = b.u64[0] as bigint;
    const tooFar = wanted >= BigInt(width);
    const count = tooFar ? width - 1 : Number(wanted);
    for (let lane = 0; lane < size[type]; lane++) {
      r[type][lane] = tooFar && !arithmetic ? 0 : compute(a[type][lane] as number, count);
    }
  };
}

function shiftWhole(compute: (value: bigint, count: bigint) => bigint): Operation {
  return bits((value, count) => (count > 63n ? 0n : compute(value, count)));
}

/** The low or high halves of both operands, interleaved. */
function interleave(type: "u8" | "u16" | "u32", high: boolean): Operation {
  const half = size[type] / 2;
  return () => {
    for (let lane = 0; lane < half; lane++) {
      const from = lane + (high ? half : 0);
      r[type][2 * lane] = a[type][from] as number;
      r[type][2 * lane + 1] = b[type][from] as number;
    }
  };
}

function pack(from: "i16" | "i32", to: "i8" | "u8" | "i16"): Operation {
  const half = size[from];
  return () => {
    for (let lane = 0; lane < half; lane++) {
      r[to][lane] = saturate(to, a[from][lane] as number);
      r[to][half + lane] = saturate(to, b[from][lane] as number);
    }
  };
}

/** Sums or differences of neighbours: those of a, then those of b. */
function horizontal(type: "i16" | "i32", compute: (first: number, second: number) => number): Operation {
  const half = size[type] / 2;
  return () => {
    for (let lane = 0; lane < half; lane++) {
      r[type][lane] = compute(a[type][2 * lane] as number, a[type][2 * lane + 1] as number);
      r[type][half + lane] = compute(b[type][2 * lane] as number, b[type][2 * lane + 1] as number);
    }
  };
}

function multiplyAdd(saturated: boolean): Operation {
  return () => {
    if (saturated) {
      for (let lane = 0; lane < 4; lane++) {
        const low = (a.u8[2 * lane] as number) * (b.i8[2 * lane] as number);
        const high = (a.u8[2 * lane + 1] as number) * (b.i8[2 * lane + 1] as number);
        r.i16[lane] = saturate("i16", low + high);
      }
      return;
    }
    for (let lane = 0; lane < 2; lane++) {
      const low = (a.i16[2 * lane] as number) * (b.i16[2 * lane] as number);
      const high = (a.i16[2 * lane + 1] as number) * (b.i16[2 * lane + 1] as number);
      r.i32[lane] = low + high;
    }
  };
}

const sumOfDifferences: Operation = () => {
  let sum = 0;
  for (let lane = 0; lane < 8; lane++) sum += Math.abs((a.u8[lane] as number) - (b.u8[lane] as number));
  r.u64[0] = BigInt(sum);
};

const shuffleBytes: Operation = () => {
  for (let lane = 0; lane < 8; lane++) {
    const index = b.u8[lane] as number;
    r.u8[lane] = index & 0x80 ? 0 : (a.u8[index & 7] as number);
  }
};

const sign = (first: number, second: number): number => (second < 0 ? -first : second === 0 ? 0 : first);
const ifTrue = (condition: boolean): number => (condition ? -1 : 0);
const average = (first: number, second: number): number => (first + second + 1) >> 1;
const sum = (first: number, second: number): number => first + second;
const difference = (first: number, second: number): number => first - second;

/** By opcode: 0F xx, 0F 38 xx with 0x100 added. */
const operations = new Map<number, Operation>([
  [0x60, interleave("u8", false)],
  [0x61, interleave("u16", false)],
  [0x62, interleave("u32", false)],
  [0x63, pack("i16", "i8")],
  [0x64, each("i8", (first, second) => ifTrue(first > second))],
  [0x65, each("i16", (first, second) => ifTrue(first > second))],
  [0x66, each("i32", (first, second) => ifTrue(first > second))],
  [0x67, pack("i16", "u8")],
  [0x68, interleave("u8", true)],
  [0x69, interleave("u16", true)],
  [0x6a, interleave("u32", true)],
  [0x6b, pack("i32", "i16")],
  [0x74, each("i8", (first, second) => ifTrue(first === second))],
  [0x75, each("i16", (first, second) => ifTrue(first === second))],
  [0x76, each("i32", (first, second) => ifTrue(first === second))],
  [0xd1, shift("u16", false, (value, count) => value >>> count)],
  [0xd2, shift("u32", false, (value, count) => value >>> count)],
  [0xd3, shiftWhole((value, count) => value >> count)],
  [0xd4, bits((first, second) => first + second)],
  [0xd5, each("i16", (first, second) => first * second)],
  [0xd8, eachSaturated("u8", difference)],
  [0xd9, eachSaturated("u16", difference)],
  [0xda, each("u8", Math.min)],
  [0xdb, bits((first, second) => first & second)],
  [0xdc, eachSaturated("u8", sum)],
  [0xdd, eachSaturated("u16", sum)],
  [0xde, each("u8", Math.max)],
  [0xdf, bits((first, second) => ~first & second)],
  [0xe0, each("u8", average)],
  [0xe1, shift("i16", true, (value, count) => value >> count)],
  [0xe2, shift("i32", true, (value, count) => value >> count)],
  [0xe3, each("u16", average)],
  [0xe4, each("u16", (first, second) => (first * second) / 0x10000)],
  [0xe5, each("i16", (first, second) => (first * second) >> 16)],
  [0xe8, eachSaturated("i8", difference)],
  [0xe9, eachSaturated("i16", difference)],
  [0xea, each("i16", Math.min)],
  [0xeb, bits((first, second) => first | second)],
  [0xec, eachSaturated("i8", sum)],
  [0xed, eachSaturated("i16", sum)],
  [0xee, each("i16", Math.max)],
  [0xef, bits((first, second) => first ^ second)],
  [0xf1, shift("u16", false, (value, count) => value << count)],
  [0xf2, shift("u32", false, (value, count) => value << count)],
  [0xf3, shiftWhole((value, count) => value << count)],
  [0xf4, bits((first, second) => (first & 0xffffffffn) * (second & 0xffffffffn))],
  [0xf5, multiplyAdd(false)],
  [0xf6, sumOfDifferences],
  [0xf8, each("i8", difference)],
  [0xf9, each("i16", difference)],
  [0xfa, each("i32", difference)],
  [0xfb, bits((first, second) => first - second)],
  [0xfc, each("i8", sum)],
  [0xfd, each("i16", sum)],
  [0xfe, each("i32", sum)],
  [0x100, shuffleBytes],
  [0x101, horizontal("i16", sum)],
  [0x102, horizontal("i32", sum)],
  [0x103, horizontal("i16", (first, second) => saturate("i16", first + second))],
  [0x104, multiplyAdd(true)],
  [0x105, horizontal("i16", difference)],
  [0x106, horizontal("i32", difference)],
  [0x107, horizontal("i16", (first, second) => saturate("i16", first - second))],
  [0x108, each("i8", sign)],
  [0x109, each("i16", sign)],
  [0x10a, each("i32", sign)],
  [0x10b, each("i16", (first, second) => (((first * second) >> 14) + 1) >> 1)],
  [0x11c, each("i8", (_, second) => Math.abs(second))],
  [0x11d, each("i16", (_, second) => Math.abs(second))],
  [0x11e, each("i32", (_, second) => Math.abs(second))],
]);

/** The result of an instruction on two operands; undefined if there is no such instruction. */
export function mmxArithmetic(opcode: number, first: bigint, second: bigint): bigint | undefined {
  const operation = operations.get(opcode);
  if (operation === undefined) return undefined;
  a.u64[0] = first;
  b.u64[0] = second;
  operation();
  return r.u64[0] as bigint;
}

/** Whether an instruction reads only 4 bytes of an operand in memory: the interleaving of low halves. */
export function readsHalf(opcode: number): boolean {
  return opcode >= 0x60 && opcode <= 0x62;
}
