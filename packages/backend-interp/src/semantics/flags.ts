import { eflagsAt, flagsKind, flagsKindAt, flagsLeftAt, flagsResultAt, flagsRightAt } from "../layout.ts";
import {
  call,
  choose,
  evaluate,
  type FunctionReference,
  type I32,
  type I64,
  i32,
  i64,
  leave,
  type Memory,
  type ModuleBuilder,
  type Statement,
  switchOn,
  unreachable,
  when,
} from "../wasm/index.ts";
import { constant } from "./operand.ts";

/** Bits of RFLAGS. */
export const flagBit = {
  carry: 0x001,
  parity: 0x004,
  adjust: 0x010,
  zero: 0x040,
  sign: 0x080,
  direction: 0x400,
  overflow: 0x800,
} as const;

const arithmetic = flagBit.carry | flagBit.parity | flagBit.adjust | flagBit.zero | flagBit.sign | flagBit.overflow;
/** The flags that kind `result` keeps in `eflags`. */
const kept = flagBit.carry | flagBit.adjust | flagBit.overflow;

/** Condition codes in the encoding's order; odd ones are the opposites of those before them (Intel SDM Vol. 1 appendix B). */
export const conditionCode = {
  overflow: 0,
  below: 2,
  equal: 4,
  belowOrEqual: 6,
  sign: 8,
  parity: 10,
  less: 12,
  lessOrEqual: 14,
} as const;

/** 1 if an i64 is negative, as a flag at `bit`. */
function signBit(value: I64, bit: number): I32 {
  const shift = 63 - Math.log2(bit);
  return i32.and(i32.wrap(i64.shrU(value, constant(shift))), i32.const(bit));
}

/** The arithmetic flags: the lazy form that layout.ts defines, and the functions of the module that compute flags from it. */
export class Flags {
  readonly #core: Memory<"i32">;
  readonly #carry: FunctionReference<readonly [], "i32">;
  readonly #settle: FunctionReference<readonly [], "none">;
  readonly #test: FunctionReference<readonly ["i32"], "i32">;
  /** RFLAGS with the lazy flags computed: `() -> i32`. */
  readonly read: FunctionReference<readonly [], "i32">;

  constructor(module: ModuleBuilder, core: Memory<"i32">) {
    this.#core = core;
    this.#carry = this.#defineCarry(module);
    this.read = this.#defineRead(module);
    this.#settle = this.#defineSettle(module);
    this.#test = module.declareFunction("testCondition", ["i32"], "i32");
    module.implement(this.#test, (f, code) => {
      const flags = f.local("i32");
      const slow = (even: number) => evaluate([flags.set(call(this.read))], this.#fromFlags(even, flags));
      return [
        switchOn(
          i32.shrU(code, i32.const(1)),
          [0, 2, 4, 6, 8, 10, 12, 14].map((even) => [
            leave(i32.xor(this.#condition(even, slow), i32.and(code, i32.const(1)))),
          ]),
          [],
        ),
        unreachable(),
      ];
    });
  }

  /** All of RFLAGS, the lazy flags computed. */
  get all(): I32 {
    return call(this.read);
  }

  /** `eflags` as it is stored, without what is lazy. */
  get stored(): I32 {
    return i32.load(this.#core, i32.const(0), eflagsAt);
  }

  #store(value: I32): Statement {
    return i32.store(this.#core, i32.const(0), value, eflagsAt);
  }

  get #kind(): I32 {
    return i32.load(this.#core, i32.const(0), flagsKindAt);
  }

  #setKind(kind: keyof typeof flagsKind): Statement {
    return i32.store(this.#core, i32.const(0), i32.const(flagsKind[kind]), flagsKindAt);
  }

  #is(kind: keyof typeof flagsKind): I32 {
    return i32.eq(this.#kind, i32.const(flagsKind[kind]));
  }

  get #result(): I64 {
    return i64.load(this.#core, i32.const(0), flagsResultAt);
  }

  get #left(): I64 {
    return i64.load(this.#core, i32.const(0), flagsLeftAt);
  }

  get #right(): I64 {
    return i64.load(this.#core, i32.const(0), flagsRightAt);
  }

  /** All six flags by the operation that made `result` of `left` and `right`, each sign-extended to 64 bits. */
  set(kind: "sum" | "difference" | "increment" | "decrement", result: I64, left: I64, right: I64): Statement[] {
    return [
      this.#setKind(kind),
      i64.store(this.#core, i32.const(0), result, flagsResultAt),
      i64.store(this.#core, i32.const(0), left, flagsLeftAt),
      i64.store(this.#core, i32.const(0), right, flagsRightAt),
    ];
  }

  /** As a logical operation: ZF, SF and PF by the result (sign-extended), the others clear. */
  setLogical(result: I64): Statement[] {
    return this.set("difference", result, result, constant(0));
  }

  /** ZF, SF and PF by the result (sign-extended); CF, AF and OF are `bits`. */
  setResult(result: I64, bits: I32): Statement[] {
    return [
      this.#setKind("result"),
      i64.store(this.#core, i32.const(0), result, flagsResultAt),
      this.#store(i32.or(i32.and(this.stored, i32.const(~kept)), bits)),
    ];
  }

  /** Replaces CF, AF and OF (those of `mask`) by `bits`; all other flags stay. */
  replace(mask: number, bits: I32): Statement[] {
    if ((mask & ~kept) !== 0) throw new RangeError("Only CF, AF and OF can be replaced one by one.");
    return [
      when(i32.gtU(this.#kind, i32.const(flagsKind.result)), [call(this.#settle)]),
      this.#store(i32.or(i32.and(this.stored, i32.const(~mask)), bits)),
    ];
  }

  /** Sets all six arithmetic flags to `bits`. */
  setAll(bits: I32): Statement[] {
    return [this.#setKind("explicit"), this.#store(i32.or(i32.and(this.stored, i32.const(~arithmetic)), bits))];
  }

  /** Replaces the flags of `mask`, any of the arithmetic ones, by `bits`. */
  replaceAny(mask: number, bits: I32): Statement[] {
    return [this.#store(i32.or(i32.and(call(this.read), i32.const(~mask)), bits)), this.#setKind("explicit")];
  }

  /** Changes bits of RFLAGS that are never lazy. */
  replaceStored(mask: number, bits: number): Statement {
    return this.#store(i32.or(i32.and(this.stored, i32.const(~mask)), i32.const(bits)));
  }

  /** CF as 0 or 1. */
  get carry(): I32 {
    return choose(this.#is("difference"), i64.ltU(this.#left, this.#right), call(this.#carry));
  }

  /** Makes CF of a sum or a difference one that `eflags` holds, before INC or DEC forgets the operands. */
  get keepCarry(): Statement {
    return when(i32.eq(i32.shrU(this.#kind, i32.const(1)), i32.const(1)), [
      this.#store(i32.or(i32.and(this.stored, i32.const(~flagBit.carry)), call(this.#carry))),
    ]);
  }

  /** Whether a condition holds, as 0 or 1 (any i32 that is not 0 will do for a branch). */
  condition(code: number): I32 {
    const even = this.#condition(code & ~1, (slow) => call(this.#test, i32.const(slow)));
    return (code & 1) === 0 ? even : i32.eqz(even);
  }

  /** Whether the condition with a code that is only known when the code runs holds: 0 or 1. */
  dynamicCondition(code: I32): I32 {
    return call(this.#test, code);
  }

  /** An even condition: inline for the kinds that usually come before it, else by `slow`. */
  #condition(code: number, slow: (code: number) => I32): I32 {
    const difference = (holds: I32) => choose(this.#is("difference"), holds, slow(code));
    const fromResult = (holds: I32, bit: number) =>
      choose(this.#kind, holds, i32.and(i32.shrU(this.stored, i32.const(Math.log2(bit))), i32.const(1)));
    switch (code) {
      case conditionCode.below:
        return this.carry;
      case conditionCode.equal:
        return fromResult(i64.eqz(this.#result), flagBit.zero);
      case conditionCode.belowOrEqual:
        return difference(i64.leU(this.#left, this.#right));
      case conditionCode.sign:
        return fromResult(i64.ltS(this.#result, constant(0)), flagBit.sign);
      case conditionCode.parity:
        return fromResult(i32.eqz(i32.and(this.#parityOfResult, i32.const(1))), flagBit.parity);
      case conditionCode.less:
        return difference(i64.ltS(this.#left, this.#right));
      case conditionCode.lessOrEqual:
        return difference(i64.leS(this.#left, this.#right));
      default:
        return slow(code);
    }
  }

  /** A condition that needs several flags, from RFLAGS. `flags` is evaluated more than once. */
  #fromFlags(code: number, flags: I32): I32 {
    const has = (bits: number) => i32.ne(i32.and(flags, i32.const(bits)), i32.const(0));
    const signNotOverflow = i32.ne(has(flagBit.sign), has(flagBit.overflow));
    switch (code) {
      case conditionCode.overflow:
        return has(flagBit.overflow);
      case conditionCode.belowOrEqual:
        return has(flagBit.carry | flagBit.zero);
      case conditionCode.less:
        return signNotOverflow;
      default:
        return i32.or(signNotOverflow, has(flagBit.zero));
    }
  }

  /** The number of ones in the low byte of the result. */
  get #parityOfResult(): I32 {
    return i32.popcnt(i32.load8u(this.#core, i32.const(0), flagsResultAt));
  }

  #defineCarry(module: ModuleBuilder): FunctionReference<readonly [], "i32"> {
    return module.defineFunction("carry", [], "i32", () => [
      when(this.#is("difference"), [leave(i64.ltU(this.#left, this.#right))]),
      when(this.#is("sum"), [leave(i64.ltU(this.#result, this.#left))]),
      leave(i32.and(this.stored, i32.const(flagBit.carry))),
    ]);
  }

  /** CF, OF and AF of the kinds that have operands. */
  get #operandFlags(): I32 {
    const isSum = i32.or(this.#is("sum"), this.#is("increment"));
    const overflow = choose(
      isSum,
      i64.and(i64.xor(this.#left, this.#result), i64.xor(this.#right, this.#result)),
      i64.and(i64.xor(this.#left, this.#right), i64.xor(this.#left, this.#result)),
    );
    const adjust = i32.wrap(i64.xor(i64.xor(this.#left, this.#right), this.#result));
    return i32.or(
      i32.or(call(this.#carry), signBit(overflow, flagBit.overflow)),
      i32.and(adjust, i32.const(flagBit.adjust)),
    );
  }

  #defineRead(module: ModuleBuilder): FunctionReference<readonly [], "i32"> {
    return module.defineFunction("readFlags", [], "i32", (f) => {
      const bits = f.local("i32");
      const result = f.local("i64");
      const parity = i32.shl(i32.eqz(i32.and(this.#parityOfResult, i32.const(1))), i32.const(2));
      return [
        bits.set(this.stored),
        when(i32.eqz(this.#kind), [leave(bits)]),
        when(i32.gtU(this.#kind, i32.const(flagsKind.result)), [
          bits.set(i32.or(i32.and(bits, i32.const(~kept)), this.#operandFlags)),
        ]),
        leave(
          evaluate(
            [result.set(this.#result), bits.set(i32.and(bits, i32.const(~(arithmetic & ~kept))))],
            i32.or(i32.or(bits, parity), i32.or(i32.shl(i64.eqz(result), i32.const(6)), signBit(result, flagBit.sign))),
          ),
        ),
      ];
    });
  }

  /** Of a kind with operands: brings CF, AF and OF into `eflags`; the kind becomes `result`. */
  #defineSettle(module: ModuleBuilder): FunctionReference<readonly [], "none"> {
    return module.defineFunction("settleFlags", [], "none", () => [
      this.#store(i32.or(i32.and(this.stored, i32.const(~kept)), this.#operandFlags)),
      this.#setKind("result"),
    ]);
  }
}
