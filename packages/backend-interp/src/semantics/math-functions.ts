import { slowValueHighSlot, slowValueSlot } from "../layout.ts";
import {
  block,
  branch,
  branchIf,
  call,
  type FunctionReference,
  i32,
  i64,
  leave,
  loop,
  type Memory,
  type ModuleBuilder,
  select,
} from "../wasm/index.ts";
import { constant } from "./operand.ts";

/** Arithmetic of 128 bits, which WebAssembly has no instructions for. */
export interface MathFunctions {
  /** The upper half of the product of two unsigned numbers. */
  readonly multiplyHigh: FunctionReference<readonly ["i64", "i64"], "i64">;
  /** The upper half of the product of two signed numbers. */
  readonly multiplyHighSigned: FunctionReference<readonly ["i64", "i64"], "i64">;
  /**
   * Divides (high:low) by a divisor, all unsigned; high must be less than the divisor, so that the quotient has 64 bits. The quotient goes to
   * `slowValueSlot`, the remainder to `slowValueHighSlot`.
   */
  readonly divideWide: FunctionReference<readonly ["i64", "i64", "i64"], "none">;
}

const low32 = 0xffff_ffffn;

/** Defines the functions in a module. */
export function defineMathFunctions(module: ModuleBuilder, core: Memory<"i32">): MathFunctions {
  const multiplyHigh = module.defineFunction("multiplyHigh", ["i64", "i64"], "i64", (f, x, y) => {
    // Schoolbook multiplication in digits of 32 bits: none of the sums can overflow 64 bits.
    const xLow = f.local("i64");
    const yLow = f.local("i64");
    const xHigh = f.local("i64");
    const yHigh = f.local("i64");
    const middle = f.local("i64");
    const cross = f.local("i64");
    return [
      xLow.set(i64.and(x, i64.const(low32))),
      yLow.set(i64.and(y, i64.const(low32))),
      xHigh.set(i64.shrU(x, constant(32))),
      yHigh.set(i64.shrU(y, constant(32))),
      middle.set(i64.add(i64.mul(xHigh, yLow), i64.shrU(i64.mul(xLow, yLow), constant(32)))),
      cross.set(i64.add(i64.mul(xLow, yHigh), i64.and(middle, i64.const(low32)))),
      leave(i64.add(i64.mul(xHigh, yHigh), i64.add(i64.shrU(middle, constant(32)), i64.shrU(cross, constant(32))))),
    ];
  });

  const multiplyHighSigned = module.defineFunction("multiplyHighSigned", ["i64", "i64"], "i64", (f, x, y) => {
    // As unsigned numbers, a negative factor is too large by 2^64: its product's upper half is too large by the other one.
    const high = f.local("i64");
    return [
      high.set(call(multiplyHigh, x, y)),
      high.set(i64.sub(high, i64.and(i64.shrS(x, constant(63)), y))),
      leave(i64.sub(high, i64.and(i64.shrS(y, constant(63)), x))),
    ];
  });

  const divideWide = module.defineFunction("divideWide", ["i64", "i64", "i64"], "none", (f, high, low, divisor) => {
    // Long division, bit by bit: the remainder is always less than the divisor, but shifting it may carry out of 64 bits.
    const step = f.local("i32");
    const carry = f.local("i64");
    const fits = f.local("i32");
    return [
      step.set(i32.const(64)),
      block((exit) => [
        loop((again) => [
          branchIf(exit, i32.eqz(step)),
          step.set(i32.sub(step, i32.const(1))),
          carry.set(i64.shrU(high, constant(63))),
          high.set(i64.or(i64.shl(high, constant(1)), i64.shrU(low, constant(63)))),
          low.set(i64.shl(low, constant(1))),
          fits.set(i32.or(i32.wrap(carry), i64.geU(high, divisor))),
          high.set(i64.sub(high, select(fits, divisor, constant(0)))),
          low.set(i64.or(low, i64.extendU(fits))),
          branch(again),
        ]),
      ]),
      i64.store(core, i32.const(0), low, slowValueSlot),
      i64.store(core, i32.const(0), high, slowValueHighSlot),
    ];
  });

  return { multiplyHigh, multiplyHighSigned, divideWide };
}
