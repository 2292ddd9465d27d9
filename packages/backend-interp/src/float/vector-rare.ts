/** Vector instructions that are rare and bulky: string comparisons, carry-less multiplication, masked stores. */
import { effectiveAddressSlot, registersAt, xmmAt } from "../layout.ts";
import { field, helperResult } from "../operations.ts";
import type { Helper, ProcessorCore } from "../processor-interface.ts";
import { vectorOperations } from "../vector-operations.ts";

const flag = { carry: 1, zero: 0x40, sign: 0x80, overflow: 0x800, arithmetic: 0x8d5 } as const;

/** The elements of a string operand: bytes or words, signed or not (immediate bits 1:0). */
function elements(core: ProcessorCore["core"], slot: number, immediate: number): number[] {
  const wide = (immediate & 1) !== 0;
  const signed = (immediate & 2) !== 0;
  const result: number[] = [];
  for (let lane = 0; lane < (wide ? 8 : 16); lane++) {
    const at = slot + lane * (wide ? 2 : 1);
    if (wide) result.push(signed ? core.view.getInt16(at, true) : core.view.getUint16(at, true));
    else result.push(signed ? core.view.getInt8(at) : core.view.getUint8(at));
  }
  return result;
}

function implicitLength(values: readonly number[]): number {
  const end = values.indexOf(0);
  return end < 0 ? values.length : end;
}

function explicitLength(core: ProcessorCore["core"], register: number, wide: boolean, count: number): number {
  const value = core.u64[(registersAt >> 3) + register] as bigint;
  const length = wide ? BigInt.asIntN(64, value) : BigInt.asIntN(32, value);
  const magnitude = length < 0n ? -length : length;
  return magnitude > BigInt(count) ? count : Number(magnitude);
}

/** The aggregation that immediate bits 3:2 select (Intel SDM Vol. 1 §4.1, Vol. 2 on PCMPESTRI): one bit for each element of the second operand. */
function aggregate(
  first: readonly number[],
  second: readonly number[],
  firstLength: number,
  secondLength: number,
  immediate: number,
): number {
  const count = first.length;
  let result = 0;
  const at = (values: readonly number[], index: number): number => values[index] as number;
  for (let j = 0; j < count; j++) {
    let bit = false;
    switch ((immediate >> 2) & 3) {
      case 0: // equal any
        if (j < secondLength) {
          for (let i = 0; i < firstLength && !bit; i++) bit = at(first, i) === at(second, j);
        }
        break;
      case 1: // ranges
        if (j < secondLength) {
          for (let i = 0; i + 1 < firstLength && !bit; i += 2) {
            bit = at(second, j) >= at(first, i) && at(second, j) <= at(first, i + 1);
          }
        }
        break;
      case 2: // equal each
        bit =
          j < firstLength && j < secondLength ? at(first, j) === at(second, j) : j >= firstLength && j >= secondLength;
        break;
      default: // equal ordered
        bit = true;
        for (let i = 0; i < firstLength && j + i < count && bit; i++) {
          bit = j + i < secondLength && at(first, i) === at(second, j + i);
        }
    }
    if (bit) result |= 1 << j;
  }
  return result;
}

function compareStrings(processor: ProcessorCore, name: string, d: number, s: number, immediate: number): void {
  const { core } = processor;
  const first = elements(core, d, immediate);
  const second = elements(core, s, immediate);
  const count = first.length;
  const explicit = name.startsWith("pcmpestr");
  const wide = name.endsWith("64");
  const firstLength = explicit ? explicitLength(core, 0, wide, count) : implicitLength(first);
  const secondLength = explicit ? explicitLength(core, 2, wide, count) : implicitLength(second);
  const all = 2 ** count - 1;
  let result = aggregate(first, second, firstLength, secondLength, immediate);
  if (immediate & 0x10) result ^= immediate & 0x20 ? 2 ** secondLength - 1 : all;
  const flags =
    (result ? flag.carry : 0) |
    (secondLength < count ? flag.zero : 0) |
    (firstLength < count ? flag.sign : 0) |
    (result & 1 ? flag.overflow : 0);
  if (name.includes("stri")) {
    const index = result === 0 ? count : immediate & 0x40 ? 31 - Math.clz32(result) : 31 - Math.clz32(result & -result);
    core.u64[(registersAt >> 3) + 1] = BigInt(index);
  } else if (immediate & 0x40) {
    const size = 16 / count;
    core.u8.fill(0, xmmAt, xmmAt + 16);
    for (let lane = 0; lane < count; lane++) {
      if ((result >> lane) & 1) core.u8.fill(0xff, xmmAt + lane * size, xmmAt + (lane + 1) * size);
    }
  } else {
    core.u64[xmmAt >> 3] = BigInt(result);
    core.u64[(xmmAt >> 3) + 1] = 0n;
  }
  processor.writeFlags((processor.readFlags() & ~flag.arithmetic) | flags);
}

/** Product of polynomials over GF(2). */
function carrylessProduct(a: bigint, b: bigint): bigint {
  let result = 0n;
  for (let rest = b, shift = 0n; rest !== 0n; rest >>= 1n, shift++) {
    if (rest & 1n) result ^= a << shift;
  }
  return result;
}

function multiplyCarryless(processor: ProcessorCore, d: number, s: number, immediate: number): void {
  const { u64 } = processor.core;
  const product = carrylessProduct(
    u64[(d >> 3) + (immediate & 1)] as bigint,
    u64[(s >> 3) + ((immediate >> 4) & 1)] as bigint,
  );
  u64[d >> 3] = BigInt.asUintN(64, product);
  u64[(d >> 3) + 1] = product >> 64n;
}

/** Stores the bytes whose mask's top bit is set. With an all-zero mask memory is not touched. */
export function storeMasked(processor: ProcessorCore, value: Uint8Array, mask: Uint8Array): void {
  const { linear, core } = processor;
  const address = core.u64[effectiveAddressSlot >> 3] as bigint;
  const chosen = [...mask.keys()].filter((index) => (mask[index] as number) & 0x80);
  const last = chosen.at(-1);
  const [first] = chosen;
  if (first === undefined || last === undefined) return;
  linear.probeWrite(address + BigInt(first), last - first + 1);
  for (const index of chosen) linear.write(address + BigInt(index), 1, BigInt(value[index] as number));
}

/** Helper `vector-rare`. */
export function vectorRareHelper(processor: ProcessorCore): Helper {
  const { u8, u32 } = processor.core;
  return (operation) => {
    const number = u32[(operation + field.immediate) >> 2] as number;
    const name = vectorOperations[number]?.name;
    const d = u32[(operation + field.destination) >> 2] as number;
    const s = u32[(operation + field.source) >> 2] as number;
    const immediate = u8[operation + field.base] as number;
    if (name === "maskmovdqu") storeMasked(processor, u8.slice(d, d + 16), u8.subarray(s, s + 16));
    else if (name === "pclmulqdq") multiplyCarryless(processor, d, s, immediate);
    else if (name?.startsWith("pcmp")) compareStrings(processor, name, d, s, immediate);
    else processor.raise(6);
    return helperResult.next;
  };
}
