import {
  type Expression,
  type I32,
  instruction,
  type Memory,
  type Statement,
  type V128,
  type ValueType,
} from "./expression.ts";
import { type Address, binary, loads, stores, unary, writeMemoryArgument, writeOpcode } from "./numeric.ts";

const prefix = 0xfd0000;

/** Opcodes that follow one another, by name; an empty name is a hole. */
function from<const K extends string>(first: number, ...names: readonly K[]): Record<Exclude<K, "">, number> {
  const pairs = names.map((name, index) => [name, prefix + first + index] as const).filter(([name]) => name !== "");
  return Object.fromEntries(pairs) as Record<Exclude<K, "">, number>;
}

const op1 = <const K extends string>(first: number, ...names: readonly K[]) =>
  unary("v128", "v128", from(first, ...names));
const op2 = <const K extends string>(first: number, ...names: readonly K[]) =>
  binary("v128", "v128", from(first, ...names));
const test = <const K extends string>(first: number, ...names: readonly K[]) =>
  unary("v128", "i32", from(first, ...names));

function shift(opcode: number): (value: V128, count: I32) => V128 {
  return (value, count) => instruction("v128", [value, count], (writer) => writeOpcode(writer, prefix + opcode));
}

/** Shifts of each lane by one count, taken modulo the lane's width. */
const shifts = (first: number) => ({ shl: shift(first), shrS: shift(first + 1), shrU: shift(first + 2) });

function splat<T extends ValueType>(opcode: number): (value: Expression<T>) => V128 {
  return (value) => instruction("v128", [value], (writer) => writeOpcode(writer, prefix + opcode));
}

function extract<T extends ValueType>(type: T, opcode: number): (vector: V128, lane: number) => Expression<T> {
  return (vector, lane) =>
    instruction(type, [vector], (writer) => {
      writeOpcode(writer, prefix + opcode);
      writer.byte(lane);
    });
}

function replace<T extends ValueType>(opcode: number): (vector: V128, lane: number, value: Expression<T>) => V128 {
  return (vector, lane, value) =>
    instruction("v128", [vector, value], (writer) => {
      writeOpcode(writer, prefix + opcode);
      writer.byte(lane);
    });
}

function loadLane(opcode: number) {
  return <A extends "i32" | "i64">(
    memory: Memory<A>,
    address: Address<A>,
    vector: V128,
    lane: number,
    offset = 0,
  ): V128 =>
    instruction("v128", [address, vector], (writer) => {
      writeOpcode(writer, prefix + opcode);
      writeMemoryArgument(writer, memory, offset);
      writer.byte(lane);
    });
}

function storeLane(opcode: number) {
  return <A extends "i32" | "i64">(
    memory: Memory<A>,
    address: Address<A>,
    vector: V128,
    lane: number,
    offset = 0,
  ): Statement =>
    instruction("none", [address, vector], (writer) => {
      writeOpcode(writer, prefix + opcode);
      writeMemoryArgument(writer, memory, offset);
      writer.byte(lane);
    });
}

/** 128-bit vectors as wholes. `const` takes 16 bytes. */
export const v128 = {
  const: (bytes: ArrayLike<number>): V128 => {
    if (bytes.length !== 16) throw new RangeError(`A vector constant has 16 bytes, not ${bytes.length}.`);
    return instruction("v128", [], (writer) => {
      writeOpcode(writer, prefix + 12);
      writer.append(bytes);
    });
  },
  ...loads("v128", from(0, "load", "load8x8s", "load8x8u", "load16x4s", "load16x4u", "load32x2s", "load32x2u")),
  ...loads("v128", from(7, "load8Splat", "load16Splat", "load32Splat", "load64Splat")),
  ...loads("v128", from(92, "load32Zero", "load64Zero")),
  ...stores("v128", from(11, "store")),
  ...op1(77, "not"),
  ...op2(78, "and", "andnot", "or", "xor"),
  /** Bits of `left` where `mask` has ones, of `right` elsewhere. */
  bitselect: (left: V128, right: V128, mask: V128): V128 =>
    instruction("v128", [left, right, mask], (writer) => writeOpcode(writer, prefix + 82)),
  ...test(83, "anyTrue"),
  load8Lane: loadLane(84),
  load16Lane: loadLane(85),
  load32Lane: loadLane(86),
  load64Lane: loadLane(87),
  store8Lane: storeLane(88),
  store16Lane: storeLane(89),
  store32Lane: storeLane(90),
  store64Lane: storeLane(91),
};

export const i8x16 = {
  /** Lane n of the result is lane `lanes[n]` of the 32 lanes of left, then right. */
  shuffle: (left: V128, right: V128, lanes: ArrayLike<number>): V128 => {
    if (lanes.length !== 16) throw new RangeError(`A shuffle has 16 lanes, not ${lanes.length}.`);
    return instruction("v128", [left, right], (writer) => {
      writeOpcode(writer, prefix + 13);
      writer.append(lanes);
    });
  },
  ...op2(14, "swizzle"),
  splat: splat<"i32">(15),
  extractLaneS: extract("i32", 21),
  extractLaneU: extract("i32", 22),
  replaceLane: replace<"i32">(23),
  ...op2(35, "eq", "ne", "ltS", "ltU", "gtS", "gtU", "leS", "leU", "geS", "geU"),
  ...op1(96, "abs", "neg", "popcnt"),
  ...test(99, "allTrue", "bitmask"),
  ...op2(101, "narrowI16x8S", "narrowI16x8U"),
  ...shifts(107),
  ...op2(110, "add", "addSatS", "addSatU", "sub", "subSatS", "subSatU", "", "", "minS", "minU", "maxS", "maxU"),
  ...op2(123, "avgrU"),
};

export const i16x8 = {
  splat: splat<"i32">(16),
  extractLaneS: extract("i32", 24),
  extractLaneU: extract("i32", 25),
  replaceLane: replace<"i32">(26),
  ...op2(45, "eq", "ne", "ltS", "ltU", "gtS", "gtU", "leS", "leU", "geS", "geU"),
  ...op1(124, "extaddPairwiseI8x16S", "extaddPairwiseI8x16U", "", "", "abs", "neg"),
  ...op2(130, "q15mulrSatS", "", "", "narrowI32x4S", "narrowI32x4U"),
  ...test(131, "allTrue", "bitmask"),
  ...op1(135, "extendLowI8x16S", "extendHighI8x16S", "extendLowI8x16U", "extendHighI8x16U"),
  ...shifts(139),
  ...op2(142, "add", "addSatS", "addSatU", "sub", "subSatS", "subSatU", "", "mul", "minS", "minU", "maxS", "maxU"),
  ...op2(155, "avgrU", "extmulLowI8x16S", "extmulHighI8x16S", "extmulLowI8x16U", "extmulHighI8x16U"),
};

export const i32x4 = {
  splat: splat<"i32">(17),
  extractLane: extract("i32", 27),
  replaceLane: replace<"i32">(28),
  ...op2(55, "eq", "ne", "ltS", "ltU", "gtS", "gtU", "leS", "leU", "geS", "geU"),
  ...op1(126, "extaddPairwiseI16x8S", "extaddPairwiseI16x8U"),
  ...op1(160, "abs", "neg"),
  ...test(163, "allTrue", "bitmask"),
  ...op1(167, "extendLowI16x8S", "extendHighI16x8S", "extendLowI16x8U", "extendHighI16x8U"),
  ...shifts(171),
  ...op2(174, "add", "", "", "sub", "", "", "", "mul", "minS", "minU", "maxS", "maxU", "dotI16x8S"),
  ...op2(188, "extmulLowI16x8S", "extmulHighI16x8S", "extmulLowI16x8U", "extmulHighI16x8U"),
  ...op1(248, "truncSatF32x4S", "truncSatF32x4U", "", "", "truncSatF64x2SZero", "truncSatF64x2UZero"),
};

export const i64x2 = {
  splat: splat<"i64">(18),
  extractLane: extract("i64", 29),
  replaceLane: replace<"i64">(30),
  ...op1(192, "abs", "neg"),
  ...test(195, "allTrue", "bitmask"),
  ...op1(199, "extendLowI32x4S", "extendHighI32x4S", "extendLowI32x4U", "extendHighI32x4U"),
  ...shifts(203),
  ...op2(206, "add", "", "", "sub", "", "", "", "mul", "eq", "ne", "ltS", "gtS", "leS", "geS"),
  ...op2(220, "extmulLowI32x4S", "extmulHighI32x4S", "extmulLowI32x4U", "extmulHighI32x4U"),
};

export const f32x4 = {
  splat: splat<"f32">(19),
  extractLane: extract("f32", 31),
  replaceLane: replace<"f32">(32),
  ...op2(65, "eq", "ne", "lt", "gt", "le", "ge"),
  ...op1(94, "demoteF64x2Zero"),
  ...op1(103, "ceil", "floor", "trunc", "nearest"),
  ...op1(224, "abs", "neg", "", "sqrt"),
  ...op2(228, "add", "sub", "mul", "div", "min", "max", "pmin", "pmax"),
  ...op1(250, "convertI32x4S", "convertI32x4U"),
};

export const f64x2 = {
  splat: splat<"f64">(20),
  extractLane: extract("f64", 33),
  replaceLane: replace<"f64">(34),
  ...op2(71, "eq", "ne", "lt", "gt", "le", "ge"),
  ...op1(95, "promoteLowF32x4"),
  ...op1(116, "ceil", "floor"),
  ...op1(122, "trunc"),
  ...op1(148, "nearest"),
  ...op1(236, "abs", "neg", "", "sqrt"),
  ...op2(240, "add", "sub", "mul", "div", "min", "max", "pmin", "pmax"),
  ...op1(254, "convertLowI32x4S", "convertLowI32x4U"),
};
