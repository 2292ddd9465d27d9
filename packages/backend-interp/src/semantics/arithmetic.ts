import { choose, type I32, type I64, i32, i64, type Statement } from "../wasm/index.ts";
import { flagBit } from "./flags.ts";
import { constant, signExtend, type Width } from "./operand.ts";
import type { Scope, Semantics } from "./scope.ts";

/** OF and AF of a result with a carry in, as they are in RFLAGS. */
function overflowAndAdjust(overflow: I64, adjust: I64): I32 {
  return i32.or(
    i32.and(i32.wrap(i64.shrU(overflow, constant(52))), i32.const(flagBit.overflow)),
    i32.and(i32.wrap(adjust), i32.const(flagBit.adjust)),
  );
}

/** ADC: d + s + CF. A sum of three does not fit the lazy form: its carry and overflow are computed at once. */
function addWithCarry(width: Width, { flags, destination, source, x, y, z, bits }: Scope): Statement[] {
  return [
    bits.set(flags.carry),
    x.set(destination.readSigned(width)),
    y.set(source.readSigned(width)),
    z.set(signExtend(width, i64.add(i64.add(x, y), i64.extendU(bits)))),
    ...flags.setResult(
      z,
      i32.or(
        choose(bits, i64.leU(z, x), i64.ltU(z, x)),
        overflowAndAdjust(i64.and(i64.xor(x, z), i64.xor(y, z)), i64.xor(i64.xor(x, y), z)),
      ),
    ),
    destination.write(width, z),
  ];
}

/** SBB: d - s - CF. */
function subtractWithBorrow(width: Width, { flags, destination, source, x, y, z, bits }: Scope): Statement[] {
  return [
    bits.set(flags.carry),
    x.set(destination.readSigned(width)),
    y.set(source.readSigned(width)),
    z.set(signExtend(width, i64.sub(i64.sub(x, y), i64.extendU(bits)))),
    ...flags.setResult(
      z,
      i32.or(
        choose(bits, i64.leU(x, y), i64.ltU(x, y)),
        overflowAndAdjust(i64.and(i64.xor(x, y), i64.xor(x, z)), i64.xor(i64.xor(x, y), z)),
      ),
    ),
    destination.write(width, z),
  ];
}

function sum(width: Width, { flags, destination, source, x, y, z }: Scope): Statement[] {
  return [
    x.set(destination.readSigned(width)),
    y.set(source.readSigned(width)),
    z.set(signExtend(width, i64.add(x, y))),
    ...flags.set("sum", z, x, y),
    destination.write(width, z),
  ];
}

function difference(width: Width, { flags, destination, source, x, y, z }: Scope, keep: boolean): Statement[] {
  return [
    x.set(destination.readSigned(width)),
    y.set(source.readSigned(width)),
    z.set(signExtend(width, i64.sub(x, y))),
    ...flags.set("difference", z, x, y),
    ...(keep ? [destination.write(width, z)] : []),
  ];
}

type Binary = (left: I64, right: I64) => I64;

/** NOTE: a logical operation on sign-extended operands gives a sign-extended result. */
function logical(
  width: Width,
  operation: Binary,
  { flags, destination, source, x }: Scope,
  keep: boolean,
): Statement[] {
  return [
    x.set(operation(destination.readSigned(width), source.readSigned(width))),
    ...flags.setLogical(x),
    ...(keep ? [destination.write(width, x)] : []),
  ];
}

function step(width: Width, kind: "increment" | "decrement", { flags, destination, x, z }: Scope): Statement[] {
  const operation = kind === "increment" ? i64.add : i64.sub;
  return [
    flags.keepCarry,
    x.set(destination.readSigned(width)),
    z.set(signExtend(width, operation(x, constant(1)))),
    ...flags.set(kind, z, x, constant(1)),
    destination.write(width, z),
  ];
}

function negate(width: Width, { flags, destination, x, z }: Scope): Statement[] {
  return [
    x.set(destination.readSigned(width)),
    z.set(signExtend(width, i64.sub(constant(0), x))),
    ...flags.set("difference", z, constant(0), x),
    destination.write(width, z),
  ];
}

/** XADD. NOTE: s is written first: if both are one register, it gets the sum. */
function exchangeAdd(width: Width, { flags, destination, source, x, y, z }: Scope): Statement[] {
  return [
    x.set(destination.readSigned(width)),
    y.set(source.readSigned(width)),
    z.set(signExtend(width, i64.add(x, y))),
    ...flags.set("sum", z, x, y),
    source.write(width, x),
    destination.write(width, z),
  ];
}

function ofWidth(width: Width): Semantics {
  return {
    [`add${width}`]: (scope: Scope) => sum(width, scope),
    [`or${width}`]: (scope: Scope) => logical(width, i64.or, scope, true),
    [`adc${width}`]: (scope: Scope) => addWithCarry(width, scope),
    [`sbb${width}`]: (scope: Scope) => subtractWithBorrow(width, scope),
    [`and${width}`]: (scope: Scope) => logical(width, i64.and, scope, true),
    [`subtract${width}`]: (scope: Scope) => difference(width, scope, true),
    [`xor${width}`]: (scope: Scope) => logical(width, i64.xor, scope, true),
    [`compare${width}`]: (scope: Scope) => difference(width, scope, false),
    [`test${width}`]: (scope: Scope) => logical(width, i64.and, scope, false),
    [`increment${width}`]: (scope: Scope) => step(width, "increment", scope),
    [`decrement${width}`]: (scope: Scope) => step(width, "decrement", scope),
    [`negate${width}`]: (scope: Scope) => negate(width, scope),
    [`not${width}`]: ({ destination }: Scope) => [
      destination.write(width, i64.xor(destination.read(width), constant(-1))),
    ],
    [`exchange-add${width}`]: (scope: Scope) => exchangeAdd(width, scope),
  };
}

/** Addition, subtraction and logic. */
export const arithmeticSemantics: Semantics = { ...ofWidth(8), ...ofWidth(16), ...ofWidth(32), ...ofWidth(64) };
