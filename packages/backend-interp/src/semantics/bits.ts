import { choose, type I64, i32, i64, type Statement, when } from "../wasm/index.ts";
import { flagBit } from "./flags.ts";
import { constant, signExtend } from "./operand.ts";
import type { Scope, Semantics } from "./scope.ts";

type Wide = 16 | 32 | 64;

/** BT and its like: CF is the bit; `change` makes the new value of d from its value and the bit's mask. All other flags stay. */
function bitTest(
  width: Wide,
  change: ((value: I64, mask: I64) => I64) | undefined,
  { flags, destination, source, x, count, bits }: Scope,
): Statement[] {
  return [
    x.set(destination.read(width)),
    count.set(i64.and(source.read(width), constant(width - 1))),
    bits.set(i32.wrap(i64.and(i64.shrU(x, count), constant(1)))),
    ...flags.replace(flagBit.carry, bits),
    ...(change === undefined ? [] : [destination.write(width, change(x, i64.shl(constant(1), count)))]),
  ];
}

/** Where the unit that has a bit is, in bytes from the first one; s is the bit's number, signed. */
function bitOffset(width: Wide, { destination, source }: Scope): Statement[] {
  const units = i64.shrS(source.readSigned(width), constant(Math.log2(width)));
  return [destination.write(64, i64.shl(units, constant(Math.log2(width / 8))))];
}

/** BSF and BSR. A source of 0 leaves d as it is (AMD APM Vol. 3; Intel leaves it undefined and does the same). */
function bitScan(width: Wide, direction: "forward" | "reverse", { flags, destination, source, x }: Scope): Statement[] {
  const found = direction === "forward" ? i64.ctz(x) : i64.sub(constant(63), i64.clz(x));
  return [
    x.set(source.read(width)),
    ...flags.setLogical(signExtend(width, x)),
    when(i64.ne(x, constant(0)), [destination.write(width, found)]),
  ];
}

/** TZCNT and LZCNT: CF says that the source is 0, ZF that the result is. */
function countZeros(
  width: Wide,
  direction: "trailing" | "leading",
  { flags, destination, source, x, z }: Scope,
): Statement[] {
  const counted =
    direction === "trailing"
      ? choose(i64.eqz(x), constant(width), i64.ctz(x))
      : i64.sub(i64.clz(x), constant(64 - width));
  return [x.set(source.read(width)), z.set(counted), destination.write(width, z), ...flags.setResult(z, i64.eqz(x))];
}

function populationCount(width: Wide, { flags, destination, source, x }: Scope): Statement[] {
  return [
    x.set(source.read(width)),
    destination.write(width, i64.popcnt(x)),
    ...flags.setAll(i32.shl(i64.eqz(x), i32.const(Math.log2(flagBit.zero)))),
  ];
}

function ofWidth(width: Wide): Semantics {
  return {
    [`bit-test${width}`]: (scope: Scope) => bitTest(width, undefined, scope),
    [`bit-test-set${width}`]: (scope: Scope) => bitTest(width, i64.or, scope),
    [`bit-test-reset${width}`]: (scope: Scope) =>
      bitTest(width, (value, mask) => i64.and(value, i64.xor(mask, constant(-1))), scope),
    [`bit-test-complement${width}`]: (scope: Scope) => bitTest(width, i64.xor, scope),
    [`bit-offset${width}`]: (scope: Scope) => bitOffset(width, scope),
    [`bit-scan-forward${width}`]: (scope: Scope) => bitScan(width, "forward", scope),
    [`bit-scan-reverse${width}`]: (scope: Scope) => bitScan(width, "reverse", scope),
    [`count-trailing-zeros${width}`]: (scope: Scope) => countZeros(width, "trailing", scope),
    [`count-leading-zeros${width}`]: (scope: Scope) => countZeros(width, "leading", scope),
    [`population-count${width}`]: (scope: Scope) => populationCount(width, scope),
  };
}

/** Instructions on single bits, and those that count them. */
export const bitSemantics: Semantics = { ...ofWidth(16), ...ofWidth(32), ...ofWidth(64) };
