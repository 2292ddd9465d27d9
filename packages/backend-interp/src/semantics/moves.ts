import { registersAt } from "../layout.ts";
import { i32, i64, type Statement, select, when } from "../wasm/index.ts";
import { flagBit } from "./flags.ts";
import { constant, register, registerNumber, signExtend, type Width } from "./operand.ts";
import type { Scope, Semantics } from "./scope.ts";

/** MOVZX and MOVSX between slots. */
function extend(from: 8 | 16 | 32, to: 16 | 32 | 64, signed: boolean, { destination, source }: Scope): Statement[] {
  return [destination.write(to, signed ? source.readSigned(from) : source.read(from))];
}

function exchange(width: Width, { destination, source, x }: Scope): Statement[] {
  return [x.set(destination.read(width)), destination.write(width, source.read(width)), source.write(width, x)];
}

/** NOTE: a 32-bit CMOVcc clears the upper half of d even if the condition does not hold. */
function moveIf(width: 16 | 32 | 64, { flags, auxiliary, destination, source }: Scope): Statement[] {
  const condition = flags.dynamicCondition(auxiliary);
  if (width === 32) return [destination.write(32, select(condition, source.read(32), destination.read(32)))];
  return [when(condition, [destination.write(width, source.read(width))])];
}

/** CMPXCHG. Not equal: d is written with its own value, as the processor does it. */
function compareExchange(width: Width, { core, flags, destination, source, x, y, z, bits }: Scope): Statement[] {
  const accumulator = register(core, registerNumber.rax);
  return [
    x.set(accumulator.readSigned(width)),
    y.set(destination.readSigned(width)),
    z.set(signExtend(width, i64.sub(x, y))),
    ...flags.set("difference", z, x, y),
    bits.set(i64.eq(x, y)),
    // NOTE: processors leave the upper half of a 32 bit destination alone if it differs (test/instructions.test.ts).
    when(bits, [destination.write(width, source.read(width))], [accumulator.write(width, y)]),
  ];
}

function extendAccumulator(width: 16 | 32 | 64, { core }: Scope): Statement[] {
  const accumulator = register(core, registerNumber.rax);
  return [accumulator.write(width, accumulator.readSigned((width / 2) as Width))];
}

function signToData(width: 16 | 32 | 64, { core }: Scope): Statement[] {
  const accumulator = register(core, registerNumber.rax);
  return [register(core, registerNumber.rdx).write(width, i64.shrS(accumulator.readSigned(width), constant(63)))];
}

function byteSwap(width: 32 | 64, { destination, x }: Scope): Statement[] {
  // Swaps bytes, then words, then halves; of 32 bits the halves are already in place after a shift.
  const even = 0x00ff_00ff_00ff_00ffn;
  const words = 0x0000_ffff_0000_ffffn;
  const swap = (mask: bigint, shift: number): Statement =>
    x.set(
      i64.or(
        i64.shl(i64.and(x, i64.const(mask)), constant(shift)),
        i64.and(i64.shrU(x, constant(shift)), i64.const(mask)),
      ),
    );
  return [
    x.set(destination.read(width)),
    swap(even, 8),
    swap(words, 16),
    destination.write(width, width === 64 ? i64.rotl(x, constant(32)) : x),
  ];
}

const ahAt = registersAt + 1;
/** The flags that LAHF and SAHF transfer. */
const lowFlags = flagBit.carry | flagBit.parity | flagBit.adjust | flagBit.zero | flagBit.sign;

function ofWidth(width: Width): Semantics {
  const wide: Semantics =
    width === 8
      ? {}
      : {
          [`move-if${width}`]: (scope: Scope) => moveIf(width, scope),
          [`extend-accumulator${width}`]: (scope: Scope) => extendAccumulator(width, scope),
          [`sign-to-data${width}`]: (scope: Scope) => signToData(width, scope),
          [`sign-extend8-to${width}`]: (scope: Scope) => extend(8, width, true, scope),
        };
  return {
    ...wide,
    [`move${width}`]: ({ destination, source }: Scope) => [destination.write(width, source.read(width))],
    [`exchange${width}`]: (scope: Scope) => exchange(width, scope),
    [`compare-exchange${width}`]: (scope: Scope) => compareExchange(width, scope),
  };
}

/** Moves, exchanges and conversions between registers, and the instructions on single flags. */
export const moveSemantics: Semantics = {
  ...ofWidth(8),
  ...ofWidth(16),
  ...ofWidth(32),
  ...ofWidth(64),
  "zero-extend8-to16": (scope) => extend(8, 16, false, scope),
  "zero-extend8-to32": (scope) => extend(8, 32, false, scope),
  "zero-extend16-to32": (scope) => extend(16, 32, false, scope),
  "sign-extend16-to32": (scope) => extend(16, 32, true, scope),
  "sign-extend16-to64": (scope) => extend(16, 64, true, scope),
  "sign-extend32-to64": (scope) => extend(32, 64, true, scope),
  "set-if": ({ flags, auxiliary, destination }) => [
    destination.write(8, i64.extendU(flags.dynamicCondition(auxiliary))),
  ],
  "byte-swap32": (scope) => byteSwap(32, scope),
  "byte-swap64": (scope) => byteSwap(64, scope),
  "complement-carry": ({ flags, bits }) => [
    bits.set(i32.xor(flags.carry, i32.const(1))),
    ...flags.replace(flagBit.carry, bits),
  ],
  "clear-carry": ({ flags }) => flags.replace(flagBit.carry, i32.const(0)),
  "set-carry": ({ flags }) => flags.replace(flagBit.carry, i32.const(flagBit.carry)),
  "clear-direction": ({ flags }) => [flags.replaceStored(flagBit.direction, 0)],
  "set-direction": ({ flags }) => [flags.replaceStored(flagBit.direction, flagBit.direction)],
  "load-flags-into-ah": ({ core, flags }) => [
    i32.store8(core, i32.const(0), i32.or(i32.and(flags.all, i32.const(lowFlags)), i32.const(2)), ahAt),
  ],
  "store-ah-into-flags": ({ core, flags }) =>
    flags.replaceAny(lowFlags, i32.and(i32.load8u(core, i32.const(0), ahAt), i32.const(lowFlags))),
};
