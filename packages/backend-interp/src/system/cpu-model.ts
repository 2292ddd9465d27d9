import { supportedXcr0, xsaveAreaSize } from "../float/index.ts";
import { linearAddressBits, physicalAddressBits } from "./architecture.ts";

/** What differs between CPU models and matters to instructions other than CPUID. */
export interface ProcessorFeatures {
  readonly name: string;
  readonly fsgsbase: boolean;
  readonly supervisorExecutionPrevention: boolean;
  readonly userModeInstructionPrevention: boolean;
  readonly xsave: boolean;
  readonly random: boolean;
}

/** The state that CPUID's answers depend on. */
export interface CpuidContext {
  readonly apicId: number;
  readonly apicEnabled: boolean;
  /** CR4.OSXSAVE. */
  readonly osXsave: boolean;
  readonly xcr0: bigint;
}

/** EAX, EBX, ECX, EDX. */
export type CpuidResult = readonly [number, number, number, number];

/**
 * The default model: x86-64-v2 and what the interpreter has beyond it. It tells no feature that is not there.
 *
 * NOTE: the vendor decides what Linux does about flaws of real processors: with AMD's it neither needs page table
 * isolation nor microcode. Family 15 model 107 is the one for which it asks for the fewest model-specific registers.
 */
export const cpr64v2: ProcessorFeatures = {
  name: "cpr64-v2",
  fsgsbase: true,
  supervisorExecutionPrevention: true,
  userModeInstructionPrevention: true,
  xsave: true,
  random: true,
};

export const processorModels: readonly ProcessorFeatures[] = [cpr64v2];

const bits = (...numbers: readonly number[]): number => numbers.reduce((sum, bit) => (sum | (1 << bit)) >>> 0, 0);

/** Twelve characters in EBX, EDX, ECX order, as vendors are told. */
function vendor(text: string): readonly [number, number, number] {
  const word = (at: number) =>
    [0, 1, 2, 3].reduce((value, index) => value | (text.charCodeAt(at + index) << (8 * index)), 0) >>> 0;
  return [word(0), word(8), word(4)];
}

const brand = "cpr virtual CPU".padEnd(48, "\0");
/** CPUID.1:EAX, which is also in EDX after reset. */
export const signature = 0x0006_0fb1;

/** CPUID.1:EDX, which AMD repeats in part in leaf 0x80000001. */
const standardEdx = bits(
  0, // FPU
  2, // DE
  3, // PSE
  4, // TSC
  5, // MSR
  6, // PAE
  7, // MCE
  8, // CX8
  11, // SEP
  12, // MTRR
  13, // PGE
  14, // MCA
  15, // CMOV
  16, // PAT
  17, // PSE-36
  19, // CLFSH
  23, // MMX
  24, // FXSR
  25, // SSE
  26, // SSE2
);
const sharedEdx = 0x0183_f3ff;

/** Answers CPUID (Intel SDM Vol. 2A; AMD APM Vol. 3 appendix E). */
export function cpuid(model: ProcessorFeatures, leaf: number, subleaf: number, context: CpuidContext): CpuidResult {
  const maximum = model.xsave ? 0xd : 0xb;
  const [vendorEbx, vendorEcx, vendorEdx] = vendor("AuthenticAMD");
  switch (leaf) {
    case 0:
      return [maximum, vendorEbx, vendorEcx, vendorEdx];
    case 1: {
      const ecx =
        bits(
          0, // SSE3
          9, // SSSE3
          13, // CMPXCHG16B
          19, // SSE4.1
          20, // SSE4.2
          21, // x2APIC
          23, // POPCNT
          24, // TSC deadline
          31, // hypervisor
        ) |
        (model.xsave ? bits(26) : 0) |
        (model.xsave && context.osXsave ? bits(27) : 0) |
        (model.random ? bits(30) : 0);
      const edx = standardEdx | (context.apicEnabled ? bits(9) : 0);
      // CLFLUSH line of 64 bytes, one logical processor.
      return [signature, ((context.apicId & 0xff) << 24) | (1 << 16) | (8 << 8), ecx >>> 0, edx >>> 0];
    }
    case 6:
      // The local APIC's timer runs in all power states.
      return [bits(2), 0, 0, 0];
    case 7: {
      if (subleaf !== 0) return [0, 0, 0, 0];
      const ebx =
        (model.fsgsbase ? bits(0) : 0) |
        // IA32_TSC_ADJUST, without which Linux distrusts the time-stamp counter.
        bits(1) |
        (model.supervisorExecutionPrevention ? bits(7) : 0) |
        // Fast REP MOVSB and STOSB: they are done a page at a time.
        bits(9) |
        // FSAVE and its like store the selectors of the last instruction and operand as zero.
        bits(13);
      return [0, ebx, model.userModeInstructionPrevention ? bits(2) : 0, 0];
    }
    case 0xb:
      // One thread in one core.
      if (subleaf > 1) return [0, 0, subleaf, context.apicId];
      return [0, 1, subleaf | ((subleaf + 1) << 8), context.apicId];
    case 0xd:
      if (!model.xsave) return [0, 0, 0, 0];
      if (subleaf === 0) return [Number(supportedXcr0), xsaveAreaSize, xsaveAreaSize, 0];
      // Sub-leaf 1: XSAVEOPT.
      return subleaf === 1 ? [1, 0, 0, 0] : [0, 0, 0, 0];
    case 0x4000_0000: {
      const [ebx, ecx, edx] = vendor("cprcprcprcpr");
      return [0x4000_0000, ebx, edx, ecx];
    }
    case 0x8000_0000:
      return [0x8000_0008, vendorEbx, vendorEcx, vendorEdx];
    case 0x8000_0001: {
      const ecx = bits(
        0, // LAHF and SAHF in 64-bit mode
        8, // PREFETCHW
      );
      const edx =
        (standardEdx & sharedEdx) |
        (context.apicEnabled ? bits(9) : 0) |
        bits(
          11, // SYSCALL
          20, // NX
          26, // pages of 1 GiB
          27, // RDTSCP
          29, // long mode
        );
      return [signature, 0, ecx, edx >>> 0];
    }
    case 0x8000_0002:
    case 0x8000_0003:
    case 0x8000_0004: {
      const at = (leaf - 0x8000_0002) * 16;
      const [first, third, second] = vendor(brand.slice(at, at + 12));
      const [fourth] = vendor(brand.slice(at + 12, at + 16).padEnd(12, "\0"));
      return [first, second, third, fourth];
    }
    case 0x8000_0005:
      // 64 KiB of first-level cache each for code and data, 2-way, lines of 64 bytes; TLBs of 1024 entries.
      return [0x01ff_01ff, 0x01ff_01ff, 0x4002_0140, 0x4002_0140];
    case 0x8000_0006:
      return [0, 0x4200_4200, 0x0200_8140, 0];
    case 0x8000_0007:
      // The time-stamp counter's rate is constant.
      return [0, 0, 0, bits(8)];
    case 0x8000_0008:
      // FXSAVE and XSAVE always save the pointers to the last x87 instruction: Linux need not work around their absence.
      return [physicalAddressBits | (linearAddressBits << 8), bits(2), 0, 0];
    default:
      return [0, 0, 0, 0];
  }
}
