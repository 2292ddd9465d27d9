/**
 * The operations that instructions are decoded into: the interface between the decoder, which writes them, and the
 * semantics, which the interpreter (and later a translator) executes. An instruction becomes one or a few operations,
 * executed in order; each is {@link operationSize} bytes in the core memory.
 *
 * Rules that keep faults precise:
 * - Whatever can fault comes before whatever changes architectural state, except that a last store may follow flags
 *   only if its address was checked for writing by a `…-modify` load before.
 * - The last operation of a block is a control transfer, `end`, or a helper that returns "jump".
 */

/** Byte offsets of an operation's fields. */
export const field = {
  /** u16: index in {@link operationNames}. */
  kind: 0,
  /** u16: offset of the instruction from the block's first one. */
  instructionOffset: 2,
  /** u32: slot address of the destination (for bytes: the byte's address). */
  destination: 4,
  /** u32: slot address of the source; the address of the operation's own `immediate` field for a constant. */
  source: 8,
  /** u32: slot of the base register ({@link zeroSlot} if none). For jumps: address of the linked block, 0 while not linked. */
  base: 12,
  /** u32: slot of the index register ({@link zeroSlot} if none). */
  index: 16,
  /** u8: 0 to 3, shift count of the index. */
  scale: 20,
  /** u8: see {@link operationFlag}. */
  flags: 21,
  /** u16: helper number, vector operation number, condition code (0 to 15), or {@link legacyAddress} bits. */
  auxiliary: 22,
  /** i32: displacement, sign-extended. For relative jumps: target RIP minus the block's RIP. */
  displacement: 24,
  /** u32: slot of the segment's base ({@link zeroSlot} if it is flat). */
  segment: 28,
  /** i64. */
  immediate: 32,
} as const;
export const operationSize = 40;

export const operationFlag = {
  /** First operation of its instruction: where a stale block is left. */
  first: 1,
  /** The link in `base` (`index` for a jump not taken) may be written: the target lies in the jump's own page. */
  linkable: 2,
  linkableNotTaken: 4,
  /**
   * Bits 7:4 of a first operation (or of `end`): how many instructions without any operation (NOP, ENDBR, fences) come
   * directly before this instruction, in the same block. Whoever counts instructions adds them.
   */
  skippedShift: 4,
} as const;

/**
 * `auxiliary` of the `-legacy` address form: bits 0-2 segment register number; bits 3-4 address size (0: 16, 1: 32,
 * 2: 64 bits); bit 5: the linear address wraps at 32 bits (not in 64-bit mode); bit 6: the segment's limit and type are
 * checked (#GP, or #SS for SS).
 */
export const legacyAddress = { segmentMask: 7, sizeShift: 3, wrap: 32, check: 64 } as const;

const widths = [8, 16, 32, 64] as const;
const wide = [16, 32, 64] as const;
/** Address forms: `base`: base + displacement; `full`: base + (index << scale) + displacement + segment; `legacy`: all else. */
const forms = ["base", "full", "legacy"] as const;

const each = <const N extends string, W extends number>(names: readonly N[], sizes: readonly W[]): `${N}${W}`[] =>
  names.flatMap((name) => sizes.map((size) => `${name}${size}` as const));
const eachForm = <const N extends string>(names: readonly N[]): `${N}-${(typeof forms)[number]}`[] =>
  names.flatMap((name) => forms.map((form) => `${name}-${form}` as const));

/** Source and destination are slots; d means destination, s source. All that is said of flags is the Intel SDM's. */
export const operationNames = [
  /** The block is stale (its code was written): RIP = block RIP + instruction offset (none at the first operation: NOPs may come before it), look the block up again. */
  "stale",
  /** End of a block that a limit cut: RIP = block RIP + displacement, look up (linked like a jump). */
  "end",
  /** Calls TypeScript: helper number `auxiliary`. Its result says how to go on (HelperResult). */
  "helper",
  /** Vector operation number `auxiliary` (vector-operations.ts): d and s are 16-byte slots or 8-byte ones, as its table says. */
  "vector",

  // Memory. The linear address is by form. 8 and 16 bit loads change only that part of d; 32 bit ones clear the rest.
  ...eachForm(each(["load"], [8, 16, 32, 64, 128])),
  /** 128 bit, #GP(0) if not 16-aligned. */
  ...eachForm(["load-aligned128"]),
  /** From s. */
  ...eachForm(each(["store"], [8, 16, 32, 64, 128])),
  ...eachForm(["store-aligned128"]),
  /** Loads into d, checked for writing; remembers where for `store-back`. */
  ...eachForm(each(["load-modify"], widths)),
  /** Stores s where the last `load-modify` of the same width loaded from. Cannot fault. */
  ...each(["store-back"], widths),
  /** effective address slot = linear address (with segment base). Immediate: size of the access in the low half, 1 in the high one for a write. */
  ...eachForm(["address"]),
  /** LEA: d = address without segment base, by operand width (16 keeps the rest of d, 32 clears it). Address size from `auxiliary`. */
  ...each(["lea"], wide),

  // Moves between slots.
  ...each(["move"], widths),
  ...each(["zero-extend8-to"], [16, 32] as const),
  "zero-extend16-to32",
  ...each(["sign-extend8-to"], wide),
  ...each(["sign-extend16-to"], [32, 64] as const),
  "sign-extend32-to64",
  ...each(["exchange"], widths),
  /** CMOVcc: condition in `auxiliary`; the 32 bit form clears the upper half of d in any case. */
  ...each(["move-if"], wide),
  /** SETcc: condition in `auxiliary`; one byte. */
  "set-if",
  ...each(["byte-swap"], [32, 64] as const),

  // Arithmetic: d = d op s, flags set. `compare` and `test` change flags only.
  ...each(["add", "or", "adc", "sbb", "and", "subtract", "xor", "compare", "test"], widths),
  ...each(["increment", "decrement", "negate", "not"], widths),
  /** Count in the low byte of s, masked as the SDM says; a zero count changes no flag. */
  ...each(
    [
      "shift-left",
      "shift-right",
      "shift-arithmetic",
      "rotate-left",
      "rotate-right",
      "rotate-carry-left",
      "rotate-carry-right",
    ],
    widths,
  ),
  /** d shifted, filled from s; the count is the low byte of the slot that `base` points to. */
  ...each(["shift-double-left", "shift-double-right"], wide),
  /** d = d * s (IMUL with two operands), flags. */
  ...each(["multiply-signed"], wide),
  /** d = s * immediate (IMUL with three operands), flags. */
  ...each(["multiply-signed-immediate"], wide),
  /** One-operand forms on RAX/RDX (AX for 8 bits) with s; divisions raise #DE. */
  ...each(["multiply-wide", "multiply-wide-signed", "divide", "divide-signed"], widths),
  /** CBW/CWDE/CDQE. */
  ...each(["extend-accumulator"], wide),
  /** CWD/CDQ/CQO. */
  ...each(["sign-to-data"], wide),
  /** Bit number in s, taken modulo the width (memory forms: the decoder adds the byte offset, see `bit-offset`). CF. */
  ...each(["bit-test", "bit-test-set", "bit-test-reset", "bit-test-complement"], wide),
  /** d (all 64 bits) = byte offset of the unit that has bit s: s, signed and of this width, shifted right arithmetically by 4, 5 or 6, times 2, 4 or 8. No flags. */
  ...each(["bit-offset"], wide),
  ...each(
    ["bit-scan-forward", "bit-scan-reverse", "count-trailing-zeros", "count-leading-zeros", "population-count"],
    wide,
  ),
  /** CMPXCHG: accumulator compared with d; equal: d = s, else accumulator = d. Memory: d is a temporary, store-back follows. */
  ...each(["compare-exchange"], widths),
  /** XADD: temp = d + s, s = d, d = temp. */
  ...each(["exchange-add"], widths),
  "complement-carry",
  "clear-carry",
  "set-carry",
  "clear-direction",
  "set-direction",
  "load-flags-into-ah",
  "store-ah-into-flags",

  // Stack, 64-bit mode (RSP whole), and 32 bits in a flat mode with a 32-bit stack. All other stacks go by helpers `push` and `pop`.
  /** Pushes s. */
  "push64",
  "push32",
  /** Pops into d; POP RSP takes the popped value. */
  "pop64",
  "pop32",

  // Control transfers; each ends its block. RIP = block RIP + displacement.
  "jump",
  /** Condition by name; not taken: RIP = block RIP + immediate (linked through `index` as `jump` is through `base`). */
  ...([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] as const).map((code) => `jump-if-${code}` as const),
  /** Near call: pushes block RIP + immediate, then jumps. (32 bits: as for `push32`; so for the others.) */
  "call64",
  "call32",
  /** Near return, RSP += operand size + immediate. */
  "return64",
  "return32",
  /** RIP = s. Canonical form is checked by the fetch. */
  "jump-indirect64",
  "jump-indirect32",
  /** Pushes block RIP + immediate, RIP = s (read before the push). */
  "call-indirect64",
  "call-indirect32",
  /** LOOP, LOOPE, LOOPNE, JrCXZ: helper-free when the address size is 64: condition in `auxiliary` 0..3 (NE, E, plain, RCX zero). */
  "loop64",

  /** Does nothing: a NOP whose place must be known because the instruction before it may write code. */
  "no-operation",
] as const;

/** Name of an operation. */
export type OperationName = (typeof operationNames)[number];

const kinds = new Map<string, number>(operationNames.map((name, index) => [name, index]));

/** The number that stands for an operation in its `kind` field. */
export function operationKind(name: OperationName): number {
  return kinds.get(name) as number;
}

/** What a helper answers. */
export const helperResult = {
  /** Go on with the next operation. */
  next: 0,
  /** `ripSlot` was set: look up the block there. */
  jump: 1,
  /** `ripSlot` was set: leave `run` (HLT, shutdown, a request). */
  leave: 2,
} as const;

/** Why `run` returned. */
export const runResult = {
  /** The budget is used up or a return was forced; `ripSlot` is set. */
  budget: 0,
  /** A helper said "leave"; `ripSlot` is set. */
  left: 1,
} as const;
