import {
  Code,
  CodeSize,
  CpuidFeature,
  DecoderOptions,
  Decoder as IcedDecoder,
  type Instruction,
  MemorySizeExt,
  Mnemonic,
  OpKind,
  Register,
} from "iced-x86";
import { type ModeFacts, modeWith } from "../../src/decode/mode.ts";
import {
  arenaAt,
  blockField,
  blockHeaderSize,
  blockRipSlot,
  registersAt,
  segmentSize,
  segmentsAt,
  zeroSlot,
} from "../../src/layout.ts";
import { field, operationNames, operationSize } from "../../src/operations.ts";
import type { Workbench } from "./decoding.ts";

/** What the CPU model has, in iced's terms. */
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
  CpuidFeature.CPUID,
  CpuidFeature.CX8,
  CpuidFeature.CMPXCHG16B,
  CpuidFeature.FPU,
  CpuidFeature.FPU287,
  CpuidFeature.FPU387,
  CpuidFeature.FSGSBASE,
  CpuidFeature.FXSR,
  CpuidFeature.MMX,
  CpuidFeature.MONITOR,
  CpuidFeature.MSR,
  CpuidFeature.MULTIBYTENOP,
  CpuidFeature.PAUSE,
  CpuidFeature.PCLMULQDQ,
  CpuidFeature.POPCNT,
  CpuidFeature.PREFETCHW,
  CpuidFeature.RDPMC,
  CpuidFeature.RDRAND,
  CpuidFeature.RDSEED,
  CpuidFeature.RDTSCP,
  CpuidFeature.SEP,
  CpuidFeature.SSE,
  CpuidFeature.SSE2,
  CpuidFeature.SSE3,
  CpuidFeature.SSSE3,
  CpuidFeature.SSE4_1,
  CpuidFeature.SSE4_2,
  CpuidFeature.SYSCALL,
  CpuidFeature.TSC,
  CpuidFeature.XSAVE,
  CpuidFeature.XSAVEOPT,
]);

/** Features that are hints where they are missing: what iced calls their instructions does nothing, or is BSF and BSR. */
const hints: ReadonlySet<string> = new Set(["nop", "bsf", "bsr", "wbinvd"]);

/**
 * Where the decoder and iced differ on purpose.
 * - SYSENTER and SYSEXIT: not in 64-bit mode on AMD processors; iced does not look at the mode.
 * - LOCK MOV CR0: CR8 by another name on AMD processors that say so in CPUID; the CPU model does not.
 * - F3 90 with REX.B: an exchange with R8, as QEMU has it; iced has a PAUSE.
 */
function isExpectedDifference(mnemonic: Mnemonic, code: number): boolean {
  if (code === 64 && [Mnemonic.Sysenter, Mnemonic.Sysexit, Mnemonic.Sysexitq].includes(mnemonic)) return true;
  return mnemonic === Mnemonic.Mov;
}

/** iced's names for what one row of the decoder stands for. */
const aliases: Readonly<Record<string, RegExp>> = {
  jcc: /^j[a-z]{1,2}$/,
  loop: /^(loop(n?e)?|j[er]?cxz)$/,
  x87: /^f/,
  nop: /^(nop|endbr(32|64)|prefetch.*|reservednop|rdssp[dq]|cldemote)$/,
  bsf: /^(bsf|tzcnt)$/,
  bsr: /^(bsr|lzcnt)$/,
  wbinvd: /^wb(no)?invd$/,
  cdq: /^(cwd|cdq|cqo)$/,
  cwde: /^(cbw|cwde|cdqe)$/,
  callf: /^call$/,
  jmpf: /^jmp$/,
  fxsave: /^fxsave(64)?$/,
  fxrstor: /^fxrstor(64)?$/,
  xsave: /^xsave(64)?$/,
  xsaveopt: /^xsaveopt(64)?$/,
  xrstor: /^xrstor(64)?$/,
  maskmovdqu: /^maskmovdqu$/,
  wait: /^wait$/,
  movd: /^mov[dq]$/,
};

function sameName(mine: string, iced: string): boolean {
  const name = iced.toLowerCase();
  if (aliases[mine]?.test(name) === true) return true;
  const stem = mine.replace(/-immediate$/, "");
  // Sizes that iced appends: movsb, pushfq, iretd, sysretq, cvtsi2sd64 and pinsrq of our table.
  return (
    name === stem ||
    name === stem.replace(/64$/, "") ||
    (name.startsWith(stem) && /^[bwdq]$/.test(name.slice(stem.length)))
  );
}

const modes = {
  16: modeWith({ code: 16, protectedMode: true, flat: true }),
  32: modeWith({ code: 32, stack32: true, protectedMode: true, flat: true }),
  64: modeWith({ code: 64 }),
};
const ip = 0x1000;

/** Decodes the bytes both ways; returns what differs, or undefined. */
export function compareWithIced(workbench: Workbench, code: ModeFacts["code"], bytes: Uint8Array): string | undefined {
  const iced = new IcedDecoder(code, bytes.subarray(0, 15), DecoderOptions.AMD);
  iced.ip = BigInt(ip);
  const expected = iced.decode();
  try {
    const actual = workbench.decode(modes[code], bytes, 1, ip);
    if (actual.end === 0) return "incomplete";
    const isValid = expected.code !== Code.INVALID;
    const name = Mnemonic[expected.mnemonic] ?? "?";
    const isSupported = isValid && expected.cpuidFeatures().every((feature) => features.has(feature));
    const { mnemonic, length } = actual;
    if (mnemonic === "(bad)") {
      return isSupported && !isExpectedDifference(expected.mnemonic, code) ? `#UD for ${name}` : undefined;
    }
    if (!isSupported && !(isValid && hints.has(mnemonic))) return `${mnemonic} for ${isValid ? name : "#UD"}`;
    if (length !== expected.length) return `${mnemonic}: length ${length} for ${expected.length}`;
    if (mnemonic === "xchg" && expected.mnemonic === Mnemonic.Pause) return undefined;
    if (!sameName(mnemonic, name)) return `${mnemonic} for ${name}`;
    return compareMemory(workbench, expected, mnemonic);
  } finally {
    expected.free();
    iced.free();
  }
}

const wholeNames = Object.keys(Register).filter((name) => Number.isNaN(Number(name)));
/** Register numbers in the encoding's order by iced's register, for 16, 32 and 64 bits. */
const registerNumbers = new Map<number, number>();
for (const names of [
  ["RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"],
  [
    "EAX",
    "ECX",
    "EDX",
    "EBX",
    "ESP",
    "EBP",
    "ESI",
    "EDI",
    "R8D",
    "R9D",
    "R10D",
    "R11D",
    "R12D",
    "R13D",
    "R14D",
    "R15D",
  ],
  ["AX", "CX", "DX", "BX", "SP", "BP", "SI", "DI"],
]) {
  names.forEach((name, number) => {
    if (wholeNames.includes(name)) registerNumbers.set(Register[name as keyof typeof Register], number);
  });
}

const shortRegisters: ReadonlySet<Register> = new Set([Register.BX, Register.BP, Register.SI, Register.DI]);

const slotOf = (register: Register): number => {
  if (register === Register.None) return zeroSlot;
  if (register === Register.RIP || register === Register.EIP) return blockRipSlot;
  return registersAt + (registerNumbers.get(register) as number) * 8;
};

/** Instructions whose first address is not simply that of their operand. */
const otherAddress = /^(pop|bt|btr|bts|btc|xlatb|monitor|invlpg|x87|mmx|lea|enter|leave|ud1)$/;

/** Compares base, index, scale, displacement, segment and size of the memory operand. */
function compareMemory({ core }: Workbench, expected: Instruction, mnemonic: string): string | undefined {
  const operand = Array.from({ length: expected.opCount }, (_, index) => expected.opKind(index));
  if (!operand.includes(OpKind.Memory) || otherAddress.test(mnemonic) || mnemonic === "nop") return undefined;
  const isMemory = /-(base|full|legacy)$/;
  const nameAt = (at: number): string => operationNames[core.u16[at >> 1] as number] as string;
  const count = core.u32[(arenaAt + blockField.operations) >> 2] as number;
  let at = arenaAt + blockHeaderSize;
  const end = at + count * operationSize;
  while (at < end && !isMemory.test(nameAt(at))) at += operationSize;
  if (at === end) return `${mnemonic}: no memory operation`;
  const name = nameAt(at);
  const word = (offset: number): number => core.u32[(at + offset) >> 2] as number;
  if (word(field.base) === at + field.immediate) return undefined;
  const base = slotOf(expected.memoryBase);
  if (word(field.base) !== base) return `${mnemonic}: base`;
  if (word(field.index) !== slotOf(expected.memoryIndex)) return `${mnemonic}: index`;
  if (
    expected.memoryIndex !== Register.None &&
    1 << (core.u8[at + field.scale] as number) !== expected.memoryIndexScale
  ) {
    return `${mnemonic}: scale`;
  }
  const wanted = Number(BigInt.asIntN(32, expected.memoryDisplacement)) - (base === blockRipSlot ? ip : 0);
  const short = [expected.memoryBase, expected.memoryIndex].some((register) => shortRegisters.has(register));
  const bits = short || expected.memoryDisplSize === 2 ? 16 : 32;
  const displacement = core.i32[(at + field.displacement) >> 2] as number;
  if (BigInt.asIntN(bits, BigInt(displacement)) !== BigInt.asIntN(bits, BigInt(wanted)))
    return `${mnemonic}: displacement`;
  const number = [Register.ES, Register.CS, Register.SS, Register.DS, Register.FS, Register.GS].indexOf(
    expected.memorySegment,
  );
  const isPlain = number !== 1 && number < 4;
  const isLong = expected.codeSize === CodeSize.Code64;
  const segment = isPlain || (isLong && number < 4) ? zeroSlot : segmentsAt + number * segmentSize;
  if (word(field.segment) !== segment) return `${mnemonic}: segment`;
  const size = /^(?:load|store)\D*(\d+)-/.exec(name)?.[1];
  if (size !== undefined) {
    const bytes = MemorySizeExt.size(expected.memorySize);
    if (Number(size) !== bytes * 8) return `${mnemonic}: ${size} bits for ${bytes} bytes`;
  }
  return undefined;
}
