import {
  Code,
  CodeExt,
  CpuidFeature,
  Decoder,
  DecoderOptions,
  EncodingKind,
  type Instruction,
  InstructionInfoFactory,
  MandatoryPrefix,
  MemorySizeExt,
  Mnemonic,
  OpAccess,
  OpCodeOperandKind,
  OpCodeTableKind,
  RflagsBits,
} from "iced-x86";

export type Bitness = 32 | 64;
export type Unit = "integer" | "string" | "vector" | "mmx" | "x87";

/** Where an operand is encoded, and its width in bytes (16: XMM). */
export type Place =
  | {
      readonly at: "rm";
      readonly size: number;
      readonly file: RegisterFile;
      readonly memory: boolean;
      readonly register: boolean;
    }
  | { readonly at: "reg" | "opcode"; readonly size: number; readonly file: RegisterFile }
  | { readonly at: "immediate"; readonly size: number }
  | { readonly at: "offset" }
  | { readonly at: "implied" };
export type RegisterFile = "general" | "mmx" | "xmm" | "segment" | "stack";

/** One encoding of an instruction, as iced-x86 knows it, in what it takes to write it. */
export interface Form {
  readonly code: number;
  readonly mnemonic: string;
  readonly unit: Unit;
  /** 66, F2 or F3, and 67, which make it this form. */
  readonly prefixes: readonly number[];
  readonly wide: boolean;
  readonly opcode: readonly number[];
  /** ModRM.reg that extends the opcode. */
  readonly extension: number | undefined;
  readonly places: readonly Place[];
  readonly hasModRm: boolean;
  /** Operand 0 is written. */
  readonly writes: boolean;
  readonly size: number;
  /** Bytes of the memory operand. */
  readonly memorySize: number;
  /** RFLAGS bits. */
  readonly flagsRead: number;
  readonly flagsWritten: number;
  readonly flagsUndefined: number;
  readonly lock: boolean;
  readonly repeat: "none" | "rep" | "conditional";
}

const features: ReadonlySet<CpuidFeature> = new Set([
  CpuidFeature.INTEL8086,
  CpuidFeature.INTEL8086_ONLY,
  CpuidFeature.INTEL186,
  CpuidFeature.INTEL286,
  CpuidFeature.INTEL386,
  CpuidFeature.INTEL486,
  CpuidFeature.X64,
  CpuidFeature.CLFSH,
  CpuidFeature.CMOV,
  CpuidFeature.CX8,
  CpuidFeature.CMPXCHG16B,
  CpuidFeature.FPU,
  CpuidFeature.FPU287,
  CpuidFeature.FPU387,
  CpuidFeature.MMX,
  CpuidFeature.MULTIBYTENOP,
  CpuidFeature.PAUSE,
  CpuidFeature.POPCNT,
  CpuidFeature.PREFETCHW,
  CpuidFeature.SSE,
  CpuidFeature.SSE2,
  CpuidFeature.SSE3,
  CpuidFeature.SSSE3,
  CpuidFeature.SSE4_1,
  CpuidFeature.SSE4_2,
]);

/**
 * What is left out: system instructions and whatever else answers with what the machine is; transfers of control and the
 * stack's (the generator writes those itself); results that processors of different makers give differently, or that
 * contain addresses of instructions.
 */
const excluded: ReadonlySet<string> = new Set(
  (
    "Hlt Int Int1 Int3 Into Iret Iretd Iretq Syscall Sysret Sysretq Sysenter Sysexit Sysexitq Cpuid Rdtsc Rdtscp Rdpmc Rdrand Rdseed " +
    "Lgdt Lidt Sgdt Sidt Lldt Sldt Ltr Str Lmsw Smsw Clts Verr Verw Lar Lsl Cli Sti In Out Insb Insw Insd Outsb Outsw Outsd " +
    "Monitor Mwait Xgetbv Xsetbv Rdfsbase Rdgsbase Wrfsbase Wrgsbase Swapgs Invd Wbinvd Invlpg Rsm Rdmsr Wrmsr Ud0 Ud1 Ud2 Udb " +
    "Call Jmp Ret Retf Jrcxz Jecxz Jcxz Loop Loope Loopne Jo Jno Jb Jae Je Jne Jbe Ja Js Jns Jp Jnp Jl Jge Jle Jg Jmpe " +
    "Push Pop Pushf Pushfd Pushfq Popf Popfd Popfq Enter Leave Pusha Pushad Popa Popad Les Lds Lss Lfs Lgs " +
    "Rcpps Rcpss Rsqrtps Rsqrtss Fsin Fcos Fsincos Fptan Fpatan F2xm1 Fyl2x Fyl2xp1 " +
    "Fnstenv Fstenv Fldenv Fnsave Fsave Frstor Fxsave Fxsave64 Fxrstor Fxrstor64 " +
    "Ldmxcsr Fstdw Fstsg Frstpm Fsetpm Fnsetpm Fnstdw Fnstsg Feni Fneni Fdisi Fndisi Loadall Umov Xbts Ibts Zalloc Cmpxchg486 Rdudbg Wrudbg"
  ).split(" "),
);
/** Forms on which makers differ: 16-bit MOVSXD, BSWAP of 16 bits, segment registers as destinations. */
const excludedCodes: ReadonlySet<number> = new Set([
  Code.Movsxd_r16_rm16,
  Code.Bswap_r16,
  Code.Mov_Sreg_rm16,
  Code.Mov_Sreg_r32m16,
  Code.Mov_Sreg_r64m16,
]);

const flagBits: readonly (readonly [number, number])[] = [
  [RflagsBits.CF, 1],
  [RflagsBits.PF, 4],
  [RflagsBits.AF, 0x10],
  [RflagsBits.ZF, 0x40],
  [RflagsBits.SF, 0x80],
  [RflagsBits.DF, 0x400],
  [RflagsBits.OF, 0x800],
];
const toFlags = (bits: number): number =>
  flagBits.reduce((all, [theirs, ours]) => ((bits & theirs) === 0 ? all : all | ours), 0);

/** Where an operand of a kind goes; undefined: the generator cannot write it. */
function placeOf(kind: OpCodeOperandKind): Place | undefined {
  const name = OpCodeOperandKind[kind] as string;
  const general = /^r(8|16|32|64)_(or_mem|reg_mem|reg|rm|opcode)$/.exec(name);
  if (general !== null) {
    const size = Number(general[1]) / 8;
    if (general[2] === "or_mem") return { at: "rm", size, file: "general", memory: true, register: true };
    if (general[2] === "rm") return { at: "rm", size, file: "general", memory: false, register: true };
    if (general[2] === "reg_mem") return undefined;
    return { at: general[2] === "reg" ? "reg" : "opcode", size, file: "general" };
  }
  const media = /^(mm|xmm)_(or_mem|reg|rm)$/.exec(name);
  if (media !== null) {
    const file = media[1] === "mm" ? "mmx" : "xmm";
    const size = file === "mmx" ? 8 : 16;
    if (media[2] === "reg") return { at: "reg", size, file };
    return { at: "rm", size, file, memory: media[2] === "or_mem", register: true };
  }
  const immediate = /^imm(8sex|8|16|32sex|32|64)(?:16|32|64)?$/.exec(name);
  if (immediate !== null) return { at: "immediate", size: Number.parseInt(immediate[1] as string, 10) / 8 };
  if (name === "imm8_const_1") return { at: "implied" };
  switch (kind) {
    case OpCodeOperandKind.mem:
    case OpCodeOperandKind.mem_mpx:
      return { at: "rm", size: 0, file: "general", memory: true, register: false };
    case OpCodeOperandKind.mem_offs:
      return { at: "offset" };
    case OpCodeOperandKind.sti_opcode:
      return { at: "opcode", size: 10, file: "stack" };
    case OpCodeOperandKind.seg_reg:
      return { at: "reg", size: 2, file: "segment" };
    default:
      break;
  }
  return /^(al|cl|ax|dx|eax|rax|st0|seg_rSI|es_rDI|seg_rDI|seg_rBX_al|[cdefgs]s)$/.test(name)
    ? { at: "implied" }
    : undefined;
}

function unitOf(places: readonly Place[], own: readonly CpuidFeature[], repeat: Form["repeat"]): Unit {
  if (own.some((feature) => [CpuidFeature.FPU, CpuidFeature.FPU287, CpuidFeature.FPU387].includes(feature)))
    return "x87";
  if (repeat !== "none") return "string";
  const files = places.map((place) => ("file" in place ? place.file : "general"));
  if (files.includes("mmx") || own.includes(CpuidFeature.MMX)) return "mmx";
  return files.includes("xmm") ? "vector" : "integer";
}

/** The bytes of one example: registers 0 and 1 (or memory at [eDI]), immediates of 1. */
function example(form: Omit<Form, "unit">, memory: boolean, bitness: Bitness): number[] {
  const bytes = [...form.prefixes];
  if (form.wide) bytes.push(0x48);
  bytes.push(...form.opcode);
  if (form.hasModRm) bytes.push((memory ? 0x07 : 0xc1) | ((form.extension ?? 0) << 3));
  for (const place of form.places) {
    if (place.at === "immediate") bytes.push(1, ...new Array<number>(place.size - 1).fill(0));
    if (place.at === "offset")
      bytes.push(...new Array<number>(form.prefixes.includes(0x67) ? bitness / 16 : bitness / 8).fill(0));
  }
  return bytes;
}

const maps: Readonly<Record<number, readonly number[]>> = {
  [OpCodeTableKind.Normal]: [],
  [OpCodeTableKind.T0F]: [0x0f],
  [OpCodeTableKind.T0F38]: [0x0f, 0x38],
  [OpCodeTableKind.T0F3A]: [0x0f, 0x3a],
};
const mandatory: Readonly<Record<number, readonly number[]>> = {
  [MandatoryPrefix.None]: [],
  [MandatoryPrefix.PNP]: [],
  [MandatoryPrefix.P66]: [0x66],
  [MandatoryPrefix.PF3]: [0xf3],
  [MandatoryPrefix.PF2]: [0xf2],
};

/** Decodes one instruction; undefined if the bytes are not exactly that. */
function decodeWhole(bytes: readonly number[], bitness: Bitness): Instruction | undefined {
  const decoder = new Decoder(bitness, Uint8Array.from(bytes), DecoderOptions.None);
  const instruction = decoder.decode();
  const whole = instruction.code !== Code.INVALID && instruction.length === bytes.length;
  decoder.free();
  return whole ? instruction : undefined;
}

/** A form of the code whose example decodes to it; undefined if there is none that sequences may use. */
function formOf(code: number, bitness: Bitness, factory: InstructionInfoFactory): Form | undefined {
  const info = CodeExt.opCode(code);
  const mnemonic = Mnemonic[info.mnemonic] as string;
  const usable =
    info.encoding === EncodingKind.Legacy &&
    info.isInstruction &&
    info.isAvailableInMode(bitness) &&
    !info.isPrivileged &&
    !info.isInputOutput &&
    !info.isReservedNop &&
    maps[info.table] !== undefined &&
    !excluded.has(mnemonic) &&
    !excludedCodes.has(code);
  if (!usable) return undefined;
  const places: Place[] = [];
  for (let operand = 0; operand < info.opCount; operand++) {
    const place = placeOf(info.opKind(operand));
    if (place === undefined) return undefined;
    places.push(place);
  }
  const opcode = [...(maps[info.table] as readonly number[])];
  if (info.opCodeLength === 2) opcode.push(info.opCode >> 8);
  opcode.push(info.opCode & 0xff);
  const hasModRm = info.isGroup || info.isRmGroup || places.some(({ at }) => at === "rm" || at === "reg");
  if (info.isRmGroup) return undefined;
  const memory = places.some((place) => place.at === "rm" && place.memory);
  for (const choice of [0, 1, 2, 3, 4, 5, 6, 7]) {
    const extra = [...((choice & 1) === 0 ? [] : [0x66]), ...((choice & 4) === 0 ? [] : [0x67])];
    const prefixes = [...extra, ...(mandatory[info.mandatoryPrefix] as readonly number[])];
    if (new Set(prefixes).size !== prefixes.length) continue;
    const wide = (choice & 2) !== 0;
    if (wide && bitness !== 64) continue;
    const base: Omit<Form, "unit"> = {
      code,
      mnemonic,
      prefixes,
      wide,
      opcode,
      extension: info.isGroup ? info.groupIndex : undefined,
      places,
      hasModRm,
      writes: false,
      size: info.operandSize / 8,
      memorySize: 0,
      flagsRead: 0,
      flagsWritten: 0,
      flagsUndefined: 0,
      lock: info.canUseLockPrefix,
      repeat: /^(Movs[bwdq]|Stos[bwdq]|Lods[bwdq])$/.test(mnemonic)
        ? "rep"
        : /^(Cmps[bwdq]|Scas[bwdq])$/.test(mnemonic)
          ? "conditional"
          : "none",
    };
    const isMedia = places.some((place) => "file" in place && place.file === "xmm");
    const instruction = decodeWhole(example(base, memory, bitness), bitness);
    if (instruction === undefined || instruction.code !== code) {
      instruction?.free();
      continue;
    }
    const own = [...instruction.cpuidFeatures()] as CpuidFeature[];
    if (own.some((feature) => !features.has(feature))) return undefined;
    const facts = factory.info(instruction);
    const access = facts.op0Access;
    const repeat = isMedia ? "none" : base.repeat;
    const form: Form = {
      ...base,
      repeat,
      unit: unitOf(places, own, repeat),
      writes: ![OpAccess.None, OpAccess.Read, OpAccess.CondRead, OpAccess.NoMemAccess].includes(access),
      memorySize: MemorySizeExt.size(instruction.memorySize),
      flagsRead: toFlags(instruction.rflagsRead),
      flagsWritten: toFlags(instruction.rflagsWritten | instruction.rflagsCleared | instruction.rflagsSet),
      flagsUndefined: toFlags(instruction.rflagsUndefined),
    };
    facts.free();
    instruction.free();
    return form;
  }
  return undefined;
}

/** What the generator's structures are made of, besides forms. */
const structural: ReadonlySet<string> = new Set(
  (
    "Call Jmp Ret Jrcxz Jecxz Loop Loope Loopne Jo Jno Jb Jae Je Jne Jbe Ja Js Jns Jp Jnp Jl Jge Jle Jg Push Pop Pushf " +
    "Pushfd Pushfq Popf Popfd Popfq Enter Leave Pusha Pushad Popa Popad Ldmxcsr Ud2 INVALID"
  ).split(" "),
);

/**
 * Whether an instruction is one that the generator writes. Others are met by sequences that jump into the middle of an
 * instruction; they may be the system's, or not be the CPU model's.
 */
export function isOrdinary(instruction: Instruction, forms: ReadonlySet<number>): boolean {
  return forms.has(instruction.code) || structural.has(Mnemonic[instruction.mnemonic] as string);
}

/** All encodings that sequences in a mode are made of. */
export function instructionForms(bitness: Bitness): readonly Form[] {
  const made = formsOf.get(bitness) ?? makeForms(bitness);
  formsOf.set(bitness, made);
  return made;
}

const formsOf = new Map<Bitness, readonly Form[]>();

function makeForms(bitness: Bitness): readonly Form[] {
  const factory = new InstructionInfoFactory();
  const codes = Object.values(Code).filter((code): code is Code => typeof code === "number");
  const forms = codes.flatMap((code) => formOf(code, bitness, factory) ?? []);
  factory.free();
  return forms;
}
