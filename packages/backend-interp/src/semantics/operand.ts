import { registersAt } from "../layout.ts";
import { type I32, type I64, i32, i64, type Memory, type Statement } from "../wasm/index.ts";

/** Width of an operand in bits. */
export type Width = 8 | 16 | 32 | 64;

/** An operand: a register or temporary, whole or in part. */
export interface Operand {
  /** The low `width` bits, zero-extended. */
  read(width: Width): I64;
  /** The low `width` bits, sign-extended. */
  readSigned(width: Width): I64;
  /** Writes as the architecture does: 8 and 16 bits leave the rest alone, 32 bits clear it (Intel SDM Vol. 1 §3.4.1.1). */
  write(width: Width, value: I64): Statement;
}

/** An operand at an address in the core memory. */
export class Slot implements Operand {
  readonly #core: Memory<"i32">;
  readonly #address: () => I32;

  /** `address` is asked for each use. */
  constructor(core: Memory<"i32">, address: () => I32) {
    this.#core = core;
    this.#address = address;
  }

  read(width: Width): I64 {
    const load = { 8: i64.load8u, 16: i64.load16u, 32: i64.load32u, 64: i64.load }[width];
    return load(this.#core, this.#address());
  }

  readSigned(width: Width): I64 {
    const load = { 8: i64.load8s, 16: i64.load16s, 32: i64.load32s, 64: i64.load }[width];
    return load(this.#core, this.#address());
  }

  write(width: Width, value: I64): Statement {
    if (width === 32) return i64.store(this.#core, this.#address(), zeroExtend(32, value));
    const store = { 8: i64.store8, 16: i64.store16, 64: i64.store }[width];
    return store(this.#core, this.#address(), value);
  }
}

/** A general-purpose register by its number. */
export function register(core: Memory<"i32">, number: number): Operand {
  const address = i32.const(registersAt + number * 8);
  return new Slot(core, () => address);
}

/** Register numbers of the registers that instructions use without naming them. */
export const registerNumber = { rax: 0, rcx: 1, rdx: 2, rsp: 4 } as const;

/** The low bits, sign-extended to 64 bits. */
export function signExtend(width: Width, value: I64): I64 {
  if (width === 64) return value;
  return { 8: i64.extend8s, 16: i64.extend16s, 32: i64.extend32s }[width](value);
}

/** The low bits, the rest cleared. */
export function zeroExtend(width: Width, value: I64): I64 {
  if (width === 64) return value;
  if (width === 32) return i64.extendU(i32.wrap(value));
  return i64.and(value, i64.const((1n << BigInt(width)) - 1n));
}

/** A 64-bit constant. */
export function constant(value: number | bigint): I64 {
  return i64.const(BigInt(value));
}
