/**
 * The vector operations: every SSE to SSE4.2 instruction (and PCLMULQDQ) that is more than a load, a store or an 8-byte
 * move. The decoder emits from this table; `vector/` implements each row.
 *
 * An operation is `vector` with the row's number in `auxiliary`, or, for a row that is `rare`, `helper` with the number
 * of `vector-rare` in `auxiliary`, the row's number in `immediate` and the 8-bit immediate in `base`. Fields:
 * - `destination`: the slot of an XMM register (16 bytes), or of a general register or temporary (8 bytes).
 * - `source`: the slot of an XMM register, or of a vector temporary (16 bytes, 16-aligned) that a load filled: then only
 *   the first {@link VectorOperation.memory} bytes are defined; or of a general register or temporary; 0 if there is none.
 * - `immediate`: the 8-bit immediate, zero-extended, if the row has one.
 *
 * NOTE: a memory operand was loaded (and its alignment checked) by an operation before. CR0.EM, CR0.TS and CR4.OSFXSR
 * are part of the mode (decode/mode.ts): the decoder raises #UD or #NM in place of the instruction.
 *
 * What has no row: movaps movups movapd movupd movdqa movdqu lddqu movntdqa (load128, store128 and their aligned forms
 * from or to the XMM slot), movntps movntpd movntdq movnti, movlps movlpd movhps movhpd movhlps movlhps (64 bit loads,
 * stores and moves of a half: slot or slot + 8), movq, movd, and movss and movsd from and to memory (the upper part of the register is
 * cleared by `move64` from the zero slot).
 */

/** One vector operation; its number is its index in {@link vectorOperations}. */
export interface VectorOperation {
  /** The SDM's mnemonic in lower case; `64` is appended if a general operand has 64 bits, `-immediate` for shifts by a constant. */
  readonly name: string;
  /** Mandatory prefix (66, f3 or f2), `w` if REX.W must be set, opcode, `/n` if ModRM.reg extends it. Empty: the decoder knows by itself. */
  readonly encoding: string;
  /** What d is. `xmm`: read and written as the SDM says. `general`: written; the upper half is cleared if it is 32 bits wide. `flags`: an XMM register that is only read; the flags are set. */
  readonly destination: "xmm" | "general" | "flags";
  readonly source: "xmm" | "general" | "none";
  /** Bytes of the memory operand that may stand in place of ModRM.rm; 0 if it must be a register. */
  readonly memory: 0 | 1 | 2 | 4 | 8 | 16;
  /** #GP(0) if the memory operand is not aligned to its 16 bytes. */
  readonly aligned: boolean;
  /** Whether there is an 8-bit immediate. */
  readonly immediate: boolean;
  /** ModRM.rm is the destination (and ModRM.reg the source): pextrb and its like, shifts by a constant. */
  readonly reversed: boolean;
  /** The same opcode without the prefix 66 is an MMX instruction (helper `mmx`). */
  readonly mmx: boolean;
  /** Implemented in TypeScript: goes by the helper `vector-rare`. */
  readonly rare: boolean;
}

type Options = Partial<Pick<VectorOperation, "immediate" | "reversed" | "mmx" | "rare">> & { unaligned?: true };

const row = (
  name: string,
  encoding: string,
  destination: VectorOperation["destination"],
  source: VectorOperation["source"],
  memory: VectorOperation["memory"],
  options: Options = {},
): VectorOperation => ({
  name,
  encoding,
  destination,
  source,
  memory,
  aligned: memory === 16 && options.unaligned !== true,
  immediate: options.immediate ?? false,
  reversed: options.reversed ?? false,
  mmx: options.mmx ?? false,
  rare: options.rare ?? false,
});

/** XMM op XMM/m128. */
const packed = (name: string, encoding: string, options: Options = {}) =>
  row(name, encoding, "xmm", "xmm", 16, options);
/** XMM op XMM or less than 16 bytes of memory. */
const partial = (name: string, encoding: string, memory: 2 | 4 | 8, options: Options = {}) =>
  row(name, encoding, "xmm", "xmm", memory, options);
/** An integer instruction that MMX has too. */
const withMmx = (name: string, opcode: string) => packed(name, `66 ${opcode}`, { mmx: true });
/** Shift of an XMM register by a constant. */
const shift = (name: string, encoding: string, mmx = true) =>
  row(name, encoding, "xmm", "none", 0, { immediate: true, reversed: true, mmx });
/** The four types of a floating-point operation: packed single and double, scalar single and double. */
const fourTypes = (name: string, opcode: string, options: Options = {}) => [
  packed(`${name}ps`, opcode, options),
  packed(`${name}pd`, `66 ${opcode}`, options),
  partial(`${name}ss`, `f3 ${opcode}`, 4, options),
  partial(`${name}sd`, `f2 ${opcode}`, 8, options),
];
const withImmediate: Options = { immediate: true };

/** All vector operations. */
export const vectorOperations: readonly VectorOperation[] = [
  // Moves between registers. movaps also stands for movups, movapd, movupd, movdqa and movdqu (16 bytes).
  row("movaps", "", "xmm", "xmm", 0),
  /** Register form: the low 4 bytes; the rest of d is kept. */
  row("movss", "", "xmm", "xmm", 0),
  packed("movsldup", "f3 0f 12"),
  packed("movshdup", "f3 0f 16"),
  partial("movddup", "f2 0f 12", 8),
  packed("unpcklps", "0f 14"),
  packed("unpcklpd", "66 0f 14"),
  packed("unpckhps", "0f 15"),
  packed("unpckhpd", "66 0f 15"),
  packed("shufps", "0f c6", withImmediate),
  packed("shufpd", "66 0f c6", withImmediate),
  row("movmskps", "0f 50", "general", "xmm", 0),
  row("movmskpd", "66 0f 50", "general", "xmm", 0),

  // Floating-point arithmetic.
  ...fourTypes("sqrt", "0f 51"),
  packed("rsqrtps", "0f 52"),
  partial("rsqrtss", "f3 0f 52", 4),
  packed("rcpps", "0f 53"),
  partial("rcpss", "f3 0f 53", 4),
  packed("andps", "0f 54"),
  packed("andpd", "66 0f 54"),
  packed("andnps", "0f 55"),
  packed("andnpd", "66 0f 55"),
  packed("orps", "0f 56"),
  packed("orpd", "66 0f 56"),
  packed("xorps", "0f 57"),
  packed("xorpd", "66 0f 57"),
  ...fourTypes("add", "0f 58"),
  ...fourTypes("mul", "0f 59"),
  ...fourTypes("sub", "0f 5c"),
  ...fourTypes("min", "0f 5d"),
  ...fourTypes("div", "0f 5e"),
  ...fourTypes("max", "0f 5f"),
  /** Predicate in the low three bits of the immediate. */
  ...fourTypes("cmp", "0f c2", withImmediate),
  packed("haddpd", "66 0f 7c"),
  packed("haddps", "f2 0f 7c"),
  packed("hsubpd", "66 0f 7d"),
  packed("hsubps", "f2 0f 7d"),
  packed("addsubpd", "66 0f d0"),
  packed("addsubps", "f2 0f d0"),
  row("ucomiss", "0f 2e", "flags", "xmm", 4),
  row("ucomisd", "66 0f 2e", "flags", "xmm", 8),
  row("comiss", "0f 2f", "flags", "xmm", 4),
  row("comisd", "66 0f 2f", "flags", "xmm", 8),

  // Conversions. A general source in memory is loaded into a general temporary.
  row("cvtsi2ss", "f3 0f 2a", "xmm", "general", 4),
  row("cvtsi2ss64", "f3 w 0f 2a", "xmm", "general", 8),
  row("cvtsi2sd", "f2 0f 2a", "xmm", "general", 4),
  row("cvtsi2sd64", "f2 w 0f 2a", "xmm", "general", 8),
  row("cvttss2si", "f3 0f 2c", "general", "xmm", 4),
  row("cvttss2si64", "f3 w 0f 2c", "general", "xmm", 4),
  row("cvttsd2si", "f2 0f 2c", "general", "xmm", 8),
  row("cvttsd2si64", "f2 w 0f 2c", "general", "xmm", 8),
  row("cvtss2si", "f3 0f 2d", "general", "xmm", 4),
  row("cvtss2si64", "f3 w 0f 2d", "general", "xmm", 4),
  row("cvtsd2si", "f2 0f 2d", "general", "xmm", 8),
  row("cvtsd2si64", "f2 w 0f 2d", "general", "xmm", 8),
  partial("cvtps2pd", "0f 5a", 8),
  packed("cvtpd2ps", "66 0f 5a"),
  partial("cvtss2sd", "f3 0f 5a", 4),
  partial("cvtsd2ss", "f2 0f 5a", 8),
  packed("cvtdq2ps", "0f 5b"),
  packed("cvtps2dq", "66 0f 5b"),
  packed("cvttps2dq", "f3 0f 5b"),
  packed("cvttpd2dq", "66 0f e6"),
  partial("cvtdq2pd", "f3 0f e6", 8),
  packed("cvtpd2dq", "f2 0f e6"),

  // Integers, SSE2.
  withMmx("punpcklbw", "0f 60"),
  withMmx("punpcklwd", "0f 61"),
  withMmx("punpckldq", "0f 62"),
  withMmx("packsswb", "0f 63"),
  withMmx("pcmpgtb", "0f 64"),
  withMmx("pcmpgtw", "0f 65"),
  withMmx("pcmpgtd", "0f 66"),
  withMmx("packuswb", "0f 67"),
  withMmx("punpckhbw", "0f 68"),
  withMmx("punpckhwd", "0f 69"),
  withMmx("punpckhdq", "0f 6a"),
  withMmx("packssdw", "0f 6b"),
  packed("punpcklqdq", "66 0f 6c"),
  packed("punpckhqdq", "66 0f 6d"),
  packed("pshufd", "66 0f 70", withImmediate),
  packed("pshufhw", "f3 0f 70", withImmediate),
  packed("pshuflw", "f2 0f 70", withImmediate),
  shift("psrlw-immediate", "66 0f 71 /2"),
  shift("psraw-immediate", "66 0f 71 /4"),
  shift("psllw-immediate", "66 0f 71 /6"),
  shift("psrld-immediate", "66 0f 72 /2"),
  shift("psrad-immediate", "66 0f 72 /4"),
  shift("pslld-immediate", "66 0f 72 /6"),
  shift("psrlq-immediate", "66 0f 73 /2"),
  shift("psrldq", "66 0f 73 /3", false),
  shift("psllq-immediate", "66 0f 73 /6"),
  shift("pslldq", "66 0f 73 /7", false),
  withMmx("pcmpeqb", "0f 74"),
  withMmx("pcmpeqw", "0f 75"),
  withMmx("pcmpeqd", "0f 76"),
  /** The source's low 16 bits. */
  row("pinsrw", "66 0f c4", "xmm", "general", 2, withImmediate),
  /** Both encodings: the newer one has the destination in ModRM.rm. */
  row("pextrw", "66 0f c5", "general", "xmm", 0, withImmediate),
  withMmx("psrlw", "0f d1"),
  withMmx("psrld", "0f d2"),
  withMmx("psrlq", "0f d3"),
  withMmx("paddq", "0f d4"),
  withMmx("pmullw", "0f d5"),
  row("pmovmskb", "66 0f d7", "general", "xmm", 0, { mmx: true }),
  withMmx("psubusb", "0f d8"),
  withMmx("psubusw", "0f d9"),
  withMmx("pminub", "0f da"),
  withMmx("pand", "0f db"),
  withMmx("paddusb", "0f dc"),
  withMmx("paddusw", "0f dd"),
  withMmx("pmaxub", "0f de"),
  withMmx("pandn", "0f df"),
  withMmx("pavgb", "0f e0"),
  withMmx("psraw", "0f e1"),
  withMmx("psrad", "0f e2"),
  withMmx("pavgw", "0f e3"),
  withMmx("pmulhuw", "0f e4"),
  withMmx("pmulhw", "0f e5"),
  withMmx("psubsb", "0f e8"),
  withMmx("psubsw", "0f e9"),
  withMmx("pminsw", "0f ea"),
  withMmx("por", "0f eb"),
  withMmx("paddsb", "0f ec"),
  withMmx("paddsw", "0f ed"),
  withMmx("pmaxsw", "0f ee"),
  withMmx("pxor", "0f ef"),
  withMmx("psllw", "0f f1"),
  withMmx("pslld", "0f f2"),
  withMmx("psllq", "0f f3"),
  withMmx("pmuludq", "0f f4"),
  withMmx("pmaddwd", "0f f5"),
  withMmx("psadbw", "0f f6"),
  /** Stores the bytes of d whose mask bit in s is set, to the effective address slot (set by `address-…` before). */
  row("maskmovdqu", "66 0f f7", "xmm", "xmm", 0, { rare: true }),
  withMmx("psubb", "0f f8"),
  withMmx("psubw", "0f f9"),
  withMmx("psubd", "0f fa"),
  withMmx("psubq", "0f fb"),
  withMmx("paddb", "0f fc"),
  withMmx("paddw", "0f fd"),
  withMmx("paddd", "0f fe"),

  // SSSE3.
  withMmx("pshufb", "0f 38 00"),
  withMmx("phaddw", "0f 38 01"),
  withMmx("phaddd", "0f 38 02"),
  withMmx("phaddsw", "0f 38 03"),
  withMmx("pmaddubsw", "0f 38 04"),
  withMmx("phsubw", "0f 38 05"),
  withMmx("phsubd", "0f 38 06"),
  withMmx("phsubsw", "0f 38 07"),
  withMmx("psignb", "0f 38 08"),
  withMmx("psignw", "0f 38 09"),
  withMmx("psignd", "0f 38 0a"),
  withMmx("pmulhrsw", "0f 38 0b"),
  withMmx("pabsb", "0f 38 1c"),
  withMmx("pabsw", "0f 38 1d"),
  withMmx("pabsd", "0f 38 1e"),
  packed("palignr", "66 0f 3a 0f", { immediate: true, mmx: true }),

  // SSE4.1. The mask of blendvps, blendvpd and pblendvb is XMM0.
  packed("pblendvb", "66 0f 38 10"),
  packed("blendvps", "66 0f 38 14"),
  packed("blendvpd", "66 0f 38 15"),
  row("ptest", "66 0f 38 17", "flags", "xmm", 16),
  partial("pmovsxbw", "66 0f 38 20", 8),
  partial("pmovsxbd", "66 0f 38 21", 4),
  partial("pmovsxbq", "66 0f 38 22", 2),
  partial("pmovsxwd", "66 0f 38 23", 8),
  partial("pmovsxwq", "66 0f 38 24", 4),
  partial("pmovsxdq", "66 0f 38 25", 8),
  packed("pmuldq", "66 0f 38 28"),
  packed("pcmpeqq", "66 0f 38 29"),
  packed("packusdw", "66 0f 38 2b"),
  partial("pmovzxbw", "66 0f 38 30", 8),
  partial("pmovzxbd", "66 0f 38 31", 4),
  partial("pmovzxbq", "66 0f 38 32", 2),
  partial("pmovzxwd", "66 0f 38 33", 8),
  partial("pmovzxwq", "66 0f 38 34", 4),
  partial("pmovzxdq", "66 0f 38 35", 8),
  packed("pminsb", "66 0f 38 38"),
  packed("pminsd", "66 0f 38 39"),
  packed("pminuw", "66 0f 38 3a"),
  packed("pminud", "66 0f 38 3b"),
  packed("pmaxsb", "66 0f 38 3c"),
  packed("pmaxsd", "66 0f 38 3d"),
  packed("pmaxuw", "66 0f 38 3e"),
  packed("pmaxud", "66 0f 38 3f"),
  packed("pmulld", "66 0f 38 40"),
  packed("phminposuw", "66 0f 38 41"),
  packed("roundps", "66 0f 3a 08", withImmediate),
  packed("roundpd", "66 0f 3a 09", withImmediate),
  partial("roundss", "66 0f 3a 0a", 4, withImmediate),
  partial("roundsd", "66 0f 3a 0b", 8, withImmediate),
  packed("blendps", "66 0f 3a 0c", withImmediate),
  packed("blendpd", "66 0f 3a 0d", withImmediate),
  packed("pblendw", "66 0f 3a 0e", withImmediate),
  /** To memory these four go through a general temporary. */
  row("pextrb", "66 0f 3a 14", "general", "xmm", 1, { immediate: true, reversed: true }),
  row("pextrd", "66 0f 3a 16", "general", "xmm", 4, { immediate: true, reversed: true }),
  row("pextrq", "66 w 0f 3a 16", "general", "xmm", 8, { immediate: true, reversed: true }),
  row("extractps", "66 0f 3a 17", "general", "xmm", 4, { immediate: true, reversed: true }),
  row("pinsrb", "66 0f 3a 20", "xmm", "general", 1, withImmediate),
  /** With a memory operand bits 7:6 of the immediate were cleared: the source is element 0. */
  partial("insertps", "66 0f 3a 21", 4, withImmediate),
  row("pinsrd", "66 0f 3a 22", "xmm", "general", 4, withImmediate),
  row("pinsrq", "66 w 0f 3a 22", "xmm", "general", 8, withImmediate),
  packed("dpps", "66 0f 3a 40", withImmediate),
  packed("dppd", "66 0f 3a 41", withImmediate),
  packed("mpsadbw", "66 0f 3a 42", withImmediate),
  packed("pclmulqdq", "66 0f 3a 44", { immediate: true, rare: true }),

  // SSE4.2. The string comparisons write ECX or XMM0 and the flags; explicit lengths are in EAX and EDX (RAX and RDX if 64).
  packed("pcmpgtq", "66 0f 38 37"),
  packed("pcmpestrm", "66 0f 3a 60", { immediate: true, rare: true, unaligned: true }),
  packed("pcmpestrm64", "66 w 0f 3a 60", { immediate: true, rare: true, unaligned: true }),
  packed("pcmpestri", "66 0f 3a 61", { immediate: true, rare: true, unaligned: true }),
  packed("pcmpestri64", "66 w 0f 3a 61", { immediate: true, rare: true, unaligned: true }),
  packed("pcmpistrm", "66 0f 3a 62", { immediate: true, rare: true, unaligned: true }),
  packed("pcmpistri", "66 0f 3a 63", { immediate: true, rare: true, unaligned: true }),
];

const numbers = new Map<string, number>(vectorOperations.map((operation, index) => [operation.name, index]));

/** The number that stands for a vector operation; throws a RangeError if there is none of that name. */
export function vectorOperationNumber(name: string): number {
  const number = numbers.get(name);
  if (number === undefined) throw new RangeError(`no vector operation is called ${name}`);
  return number;
}
