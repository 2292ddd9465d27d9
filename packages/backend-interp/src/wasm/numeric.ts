import {
  type CodeWriter,
  type Expression,
  type F32,
  type F64,
  type I32,
  type I64,
  instruction,
  type Memory,
  type ResultType,
  type Statement,
  type ValueType,
} from "./expression.ts";

/** Opcodes above 0xff have a prefix byte, and the rest as LEB128. */
export function writeOpcode(writer: CodeWriter, opcode: number): void {
  if (opcode < 0x100) {
    writer.byte(opcode);
  } else {
    writer.byte(opcode >> 16);
    writer.unsigned(opcode & 0xffff);
  }
}

/** An address in a memory: as wide as that memory's addresses are. */
export type Address<A extends "i32" | "i64"> = Expression<A>;

/** Writes the immediates of a memory instruction. The alignment hint is 0: guests do not align. */
export function writeMemoryArgument(writer: CodeWriter, memory: Memory, offset: number): void {
  if (memory.index === 0) {
    writer.unsigned(0);
  } else {
    writer.unsigned(0x40);
    writer.unsigned(memory.index);
  }
  writer.unsigned(offset);
}

type Unary<O extends ValueType, R extends ValueType> = (value: Expression<O>) => Expression<R>;
type Binary<O extends ValueType, R extends ValueType> = (left: Expression<O>, right: Expression<O>) => Expression<R>;
type Load<R extends ValueType> = <A extends "i32" | "i64">(
  memory: Memory<A>,
  address: Address<A>,
  offset?: number,
) => Expression<R>;
type Store<O extends ValueType> = <A extends "i32" | "i64">(
  memory: Memory<A>,
  address: Address<A>,
  value: Expression<O>,
  offset?: number,
) => Statement;

/** Makes one constructor per opcode. */
function table<K extends string, F>(opcodes: Readonly<Record<K, number>>, make: (opcode: number) => F): Record<K, F> {
  return Object.fromEntries(Object.entries<number>(opcodes).map(([name, opcode]) => [name, make(opcode)])) as Record<
    K,
    F
  >;
}

/** Instructions with one operand. */
export function unary<O extends ValueType, R extends ValueType, K extends string>(
  _operand: O,
  result: R,
  opcodes: Readonly<Record<K, number>>,
): Record<K, Unary<O, R>> {
  return table(
    opcodes,
    (opcode): Unary<O, R> =>
      (value) =>
        instruction(result, [value], (writer) => writeOpcode(writer, opcode)),
  );
}

/** Instructions with two operands of one type. */
export function binary<O extends ValueType, R extends ValueType, K extends string>(
  _operands: O,
  result: R,
  opcodes: Readonly<Record<K, number>>,
): Record<K, Binary<O, R>> {
  return table(
    opcodes,
    (opcode): Binary<O, R> =>
      (left, right) =>
        instruction(result, [left, right], (writer) => writeOpcode(writer, opcode)),
  );
}

/** Loads: `offset` is a constant that is added to the address. */
export function loads<R extends ValueType, K extends string>(
  result: R,
  opcodes: Readonly<Record<K, number>>,
): Record<K, Load<R>> {
  return table(
    opcodes,
    (opcode): Load<R> =>
      (memory, address, offset = 0) =>
        instruction(result, [address], (writer) => {
          writeOpcode(writer, opcode);
          writeMemoryArgument(writer, memory, offset);
        }),
  );
}

/** Stores. */
export function stores<O extends ValueType, K extends string>(
  _operand: O,
  opcodes: Readonly<Record<K, number>>,
): Record<K, Store<O>> {
  return table(
    opcodes,
    (opcode): Store<O> =>
      (memory, address, value, offset = 0) =>
        instruction("none", [address, value], (writer) => {
          writeOpcode(writer, opcode);
          writeMemoryArgument(writer, memory, offset);
        }),
  );
}

function constant<T extends ResultType>(type: T, write: (writer: CodeWriter) => void): Expression<T> {
  return instruction(type, [], write);
}

/** 32-bit integer instructions. Constants may be written signed or unsigned. */
export const i32 = {
  const: (value: number): I32 =>
    constant("i32", (writer) => {
      writer.byte(0x41);
      writer.signed(BigInt(value | 0));
    }),
  ...loads("i32", { load: 0x28, load8s: 0x2c, load8u: 0x2d, load16s: 0x2e, load16u: 0x2f }),
  ...stores("i32", { store: 0x36, store8: 0x3a, store16: 0x3b }),
  ...unary("i32", "i32", { eqz: 0x45, clz: 0x67, ctz: 0x68, popcnt: 0x69, extend8s: 0xc0, extend16s: 0xc1 }),
  ...binary("i32", "i32", { eq: 0x46, ne: 0x47, ltS: 0x48, ltU: 0x49, gtS: 0x4a, gtU: 0x4b, leS: 0x4c, leU: 0x4d }),
  ...binary("i32", "i32", { geS: 0x4e, geU: 0x4f, add: 0x6a, sub: 0x6b, mul: 0x6c, divS: 0x6d, divU: 0x6e }),
  ...binary("i32", "i32", { remS: 0x6f, remU: 0x70, and: 0x71, or: 0x72, xor: 0x73, shl: 0x74, shrS: 0x75 }),
  ...binary("i32", "i32", { shrU: 0x76, rotl: 0x77, rotr: 0x78 }),
  ...unary("i64", "i32", { wrap: 0xa7 }),
  ...unary("f32", "i32", { truncF32S: 0xa8, truncF32U: 0xa9, reinterpret: 0xbc }),
  ...unary("f32", "i32", { truncSatF32S: 0xfc0000, truncSatF32U: 0xfc0001 }),
  ...unary("f64", "i32", { truncF64S: 0xaa, truncF64U: 0xab, truncSatF64S: 0xfc0002, truncSatF64U: 0xfc0003 }),
};

/** 64-bit integer instructions. Constants may be written signed or unsigned. Comparisons give an i32. */
export const i64 = {
  const: (value: bigint): I64 =>
    constant("i64", (writer) => {
      writer.byte(0x42);
      writer.signed(BigInt.asIntN(64, value));
    }),
  ...loads("i64", {
    load: 0x29,
    load8s: 0x30,
    load8u: 0x31,
    load16s: 0x32,
    load16u: 0x33,
    load32s: 0x34,
    load32u: 0x35,
  }),
  ...stores("i64", { store: 0x37, store8: 0x3c, store16: 0x3d, store32: 0x3e }),
  ...unary("i64", "i32", { eqz: 0x50 }),
  ...binary("i64", "i32", { eq: 0x51, ne: 0x52, ltS: 0x53, ltU: 0x54, gtS: 0x55, gtU: 0x56, leS: 0x57, leU: 0x58 }),
  ...binary("i64", "i32", { geS: 0x59, geU: 0x5a }),
  ...unary("i64", "i64", { clz: 0x79, ctz: 0x7a, popcnt: 0x7b, extend8s: 0xc2, extend16s: 0xc3, extend32s: 0xc4 }),
  ...binary("i64", "i64", { add: 0x7c, sub: 0x7d, mul: 0x7e, divS: 0x7f, divU: 0x80, remS: 0x81, remU: 0x82 }),
  ...binary("i64", "i64", {
    and: 0x83,
    or: 0x84,
    xor: 0x85,
    shl: 0x86,
    shrS: 0x87,
    shrU: 0x88,
    rotl: 0x89,
    rotr: 0x8a,
  }),
  ...unary("i32", "i64", { extendS: 0xac, extendU: 0xad }),
  ...unary("f32", "i64", { truncF32S: 0xae, truncF32U: 0xaf, truncSatF32S: 0xfc0004, truncSatF32U: 0xfc0005 }),
  ...unary("f64", "i64", { truncF64S: 0xb0, truncF64U: 0xb1, truncSatF64S: 0xfc0006, truncSatF64U: 0xfc0007 }),
  ...unary("f64", "i64", { reinterpret: 0xbd }),
};

/** Single precision. */
export const f32 = {
  const: (value: number): F32 =>
    constant("f32", (writer) => {
      writer.byte(0x43);
      writer.float32(value);
    }),
  ...loads("f32", { load: 0x2a }),
  ...stores("f32", { store: 0x38 }),
  ...binary("f32", "i32", { eq: 0x5b, ne: 0x5c, lt: 0x5d, gt: 0x5e, le: 0x5f, ge: 0x60 }),
  ...unary("f32", "f32", { abs: 0x8b, neg: 0x8c, ceil: 0x8d, floor: 0x8e, trunc: 0x8f, nearest: 0x90, sqrt: 0x91 }),
  ...binary("f32", "f32", { add: 0x92, sub: 0x93, mul: 0x94, div: 0x95, min: 0x96, max: 0x97, copysign: 0x98 }),
  ...unary("i32", "f32", { convertI32S: 0xb2, convertI32U: 0xb3, reinterpret: 0xbe }),
  ...unary("i64", "f32", { convertI64S: 0xb4, convertI64U: 0xb5 }),
  ...unary("f64", "f32", { demote: 0xb6 }),
};

/** Double precision. */
export const f64 = {
  const: (value: number): F64 =>
    constant("f64", (writer) => {
      writer.byte(0x44);
      writer.float64(value);
    }),
  ...loads("f64", { load: 0x2b }),
  ...stores("f64", { store: 0x39 }),
  ...binary("f64", "i32", { eq: 0x61, ne: 0x62, lt: 0x63, gt: 0x64, le: 0x65, ge: 0x66 }),
  ...unary("f64", "f64", { abs: 0x99, neg: 0x9a, ceil: 0x9b, floor: 0x9c, trunc: 0x9d, nearest: 0x9e, sqrt: 0x9f }),
  ...binary("f64", "f64", { add: 0xa0, sub: 0xa1, mul: 0xa2, div: 0xa3, min: 0xa4, max: 0xa5, copysign: 0xa6 }),
  ...unary("i32", "f64", { convertI32S: 0xb7, convertI32U: 0xb8 }),
  ...unary("i64", "f64", { convertI64S: 0xb9, convertI64U: 0xba, reinterpret: 0xbf }),
  ...unary("f32", "f64", { promote: 0xbb }),
};

/** `memory.fill`: `count` bytes of `value` from `address` on. */
export function memoryFill<A extends "i32" | "i64">(
  memory: Memory<A>,
  address: Address<A>,
  value: I32,
  count: Address<A>,
): Statement {
  return instruction("none", [address, value, count], (writer) => {
    writeOpcode(writer, 0xfc000b);
    writer.unsigned(memory.index);
  });
}
