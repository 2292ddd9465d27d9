/** A register that CPUID gives. */
export type CpuidRegister = "eax" | "ebx" | "ecx" | "edx";

/** What CPUID gives for a leaf and subleaf. */
export type CpuidValues = Readonly<Record<CpuidRegister, number>>;

/** One answer of CPUID. */
export interface CpuidEntry extends CpuidValues {
  readonly leaf: number;
  /** Undefined if the leaf has no subleaves: ECX does not matter. */
  readonly subleaf: number | undefined;
}

/** Where CPUID tells of a feature: leaf, subleaf, register, bit. */
type FeatureBit = readonly [leaf: number, subleaf: number | undefined, register: CpuidRegister, bit: number];

/** Features of a processor that software is told of, by the names that QEMU's `-cpu` has for them. */
export const processorFeatures = {
  fpu: [1, undefined, "edx", 0],
  de: [1, undefined, "edx", 2],
  pse: [1, undefined, "edx", 3],
  tsc: [1, undefined, "edx", 4],
  msr: [1, undefined, "edx", 5],
  pae: [1, undefined, "edx", 6],
  mce: [1, undefined, "edx", 7],
  cx8: [1, undefined, "edx", 8],
  apic: [1, undefined, "edx", 9],
  sep: [1, undefined, "edx", 11],
  mtrr: [1, undefined, "edx", 12],
  pge: [1, undefined, "edx", 13],
  mca: [1, undefined, "edx", 14],
  cmov: [1, undefined, "edx", 15],
  pat: [1, undefined, "edx", 16],
  pse36: [1, undefined, "edx", 17],
  clflush: [1, undefined, "edx", 19],
  mmx: [1, undefined, "edx", 23],
  fxsr: [1, undefined, "edx", 24],
  sse: [1, undefined, "edx", 25],
  sse2: [1, undefined, "edx", 26],
  sse3: [1, undefined, "ecx", 0],
  ssse3: [1, undefined, "ecx", 9],
  fma: [1, undefined, "ecx", 12],
  cx16: [1, undefined, "ecx", 13],
  "sse4.1": [1, undefined, "ecx", 19],
  "sse4.2": [1, undefined, "ecx", 20],
  x2apic: [1, undefined, "ecx", 21],
  movbe: [1, undefined, "ecx", 22],
  popcnt: [1, undefined, "ecx", 23],
  "tsc-deadline": [1, undefined, "ecx", 24],
  xsave: [1, undefined, "ecx", 26],
  avx: [1, undefined, "ecx", 28],
  f16c: [1, undefined, "ecx", 29],
  rdrand: [1, undefined, "ecx", 30],
  fsgsbase: [7, 0, "ebx", 0],
  "tsc-adjust": [7, 0, "ebx", 1],
  bmi1: [7, 0, "ebx", 3],
  avx2: [7, 0, "ebx", 5],
  smep: [7, 0, "ebx", 7],
  bmi2: [7, 0, "ebx", 8],
  umip: [7, 0, "ecx", 2],
  kvmclock: [0x4000_0001, undefined, "eax", 3],
  "kvmclock-stable-bit": [0x4000_0001, undefined, "eax", 24],
  lahf_lm: [0x8000_0001, undefined, "ecx", 0],
  abm: [0x8000_0001, undefined, "ecx", 5],
  "3dnowprefetch": [0x8000_0001, undefined, "ecx", 8],
  syscall: [0x8000_0001, undefined, "edx", 11],
  nx: [0x8000_0001, undefined, "edx", 20],
  pdpe1gb: [0x8000_0001, undefined, "edx", 26],
  rdtscp: [0x8000_0001, undefined, "edx", 27],
  lm: [0x8000_0001, undefined, "edx", 29],
} as const satisfies Readonly<Record<string, FeatureBit>>;

/** A feature by its name. */
export type ProcessorFeature = keyof typeof processorFeatures;

/** A CPU model: what CPUID tells the guest, by name, so that it is the same on every backend. */
export interface ProcessorModel {
  /** For `-cpu`. */
  readonly name: string;
  readonly features: ReadonlySet<ProcessorFeature>;
}

const level1 = [
  ...(["fpu", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "apic", "sep", "mtrr", "pge", "mca", "cmov"] as const),
  ...(["pat", "pse36", "clflush", "mmx", "fxsr", "sse", "sse2", "cx16", "x2apic", "tsc-deadline"] as const),
  ...(["tsc-adjust", "kvmclock", "kvmclock-stable-bit", "lahf_lm", "3dnowprefetch", "syscall", "nx", "lm"] as const),
];
const level2 = [
  ...level1,
  ...(["sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "xsave", "rdrand"] as const),
  ...(["fsgsbase", "smep", "umip", "pdpe1gb", "rdtscp"] as const),
];
const level3 = [...level2, ...(["avx", "avx2", "fma", "f16c", "movbe", "bmi1", "bmi2", "abm"] as const)];

/**
 * The CPU models, the default first. They are named for the levels of the x86-64 psABI: `cpr64-v2` is what every backend
 * can provide on a host that is younger than ten years, `cpr64-v1` runs on all, `cpr64-v3` brings AVX2.
 */
export const processorModels: readonly ProcessorModel[] = [
  { name: "cpr64-v2", features: new Set(level2) },
  { name: "cpr64-v1", features: new Set(level1) },
  { name: "cpr64-v3", features: new Set(level3) },
];

/** A CPU model by its name. */
export function findProcessorModel(name: string): ProcessorModel | undefined {
  return processorModels.find((model) => model.name === name);
}

/** The features that a model has and something else lacks, in the order of {@link processorFeatures}. */
export function missingFeatures(
  model: ProcessorModel,
  has: (feature: ProcessorFeature) => boolean,
): readonly ProcessorFeature[] {
  return (Object.keys(processorFeatures) as ProcessorFeature[]).filter(
    (feature) => model.features.has(feature) && !has(feature),
  );
}

/** The components of XCR0 that a model has (Intel SDM Vol. 1 §13.3): x87 and SSE, AVX. */
export function xcr0Of({ features }: ProcessorModel): bigint {
  return features.has("avx") ? 0b111n : 0b011n;
}

/** Which vCPU of how many CPUID is executed on. The APIC id is the index. */
export interface ProcessorTopology {
  readonly index: number;
  readonly count: number;
}

/** Bytes of the legacy region and the header of the XSAVE area, and of AVX's component behind them. */
const xsaveSize = 576;
const avxSize = 256;

const brand = "cpr virtual CPU".padEnd(48, "\0");

/** Four characters of a text as a little-endian double word. */
function word(text: string, at: number): number {
  return [0, 1, 2, 3].reduce((value, index) => value | (text.charCodeAt(at + index) << (8 * index)), 0) >>> 0;
}

/** Twelve characters in EBX, EDX, ECX order, as vendors are told. */
function vendor(text: string): Pick<CpuidValues, "ebx" | "ecx" | "edx"> {
  return { ebx: word(text, 0), edx: word(text, 4), ecx: word(text, 8) };
}

/** CPUID.1:EAX, which is also in EDX after reset: family 15, model 107, stepping 1. */
export const processorSignature = 0x0006_0fb1;

/** Bits of CPUID.1:EDX that AMD repeats in leaf 0x80000001. */
const repeatedEdx = 0x0183_f3ff;

/**
 * All answers of CPUID for one vCPU of a model (Intel SDM Vol. 2A; AMD APM Vol. 3 appendix E). What depends on the vCPU's
 * state is told as after reset: the backend adds OSXSAVE, takes APIC away when it is disabled, and the size of what is
 * enabled in XCR0. A leaf that is not among them gives zeros.
 *
 * NOTE: the vendor decides what Linux does about flaws of real processors: with AMD's it neither needs page table
 * isolation nor microcode. Family 15 model 107 is the one for which it asks for the fewest model-specific registers.
 */
export function cpuidEntries(model: ProcessorModel, { index, count }: ProcessorTopology): readonly CpuidEntry[] {
  const amd = vendor("AuthenticAMD");
  const { features } = model;
  const has = (feature: ProcessorFeature): boolean => features.has(feature);
  /** The features that a register tells of. */
  const told = (leaf: number, subleaf: number | undefined, register: CpuidRegister): number => {
    let value = 0;
    for (const feature of features) {
      const [atLeaf, atSubleaf, inRegister, bit] = processorFeatures[feature];
      if (atLeaf === leaf && atSubleaf === subleaf && inRegister === register) value |= 1 << bit;
    }
    return value >>> 0;
  };
  const entry = (leaf: number, values: Partial<CpuidValues>, subleaf?: number): CpuidEntry => ({
    leaf,
    subleaf,
    eax: 0,
    ebx: 0,
    ecx: 0,
    edx: 0,
    ...values,
  });
  const standardEdx = told(1, undefined, "edx");
  const hypervisorPresent = 0x8000_0000;
  const several = count > 1;
  return [
    entry(0, { eax: has("xsave") ? 0xd : 0xb, ...amd }),
    entry(1, {
      eax: processorSignature,
      // APIC id, number of logical processors, CLFLUSH line of 64 bytes.
      ebx: ((index << 24) | (count << 16) | (8 << 8)) >>> 0,
      ecx: (told(1, undefined, "ecx") | hypervisorPresent) >>> 0,
      // HTT: there are several logical processors in the package.
      edx: (standardEdx | (several ? 1 << 28 : 0)) >>> 0,
    }),
    // ARAT: the local APIC's timer runs in all power states.
    entry(6, { eax: 1 << 2 }),
    entry(
      7,
      {
        // Beside the features: fast REP MOVSB and STOSB; FSAVE and its like store selectors as zero.
        ebx: (told(7, 0, "ebx") | (1 << 9) | (1 << 13)) >>> 0,
        ecx: told(7, 0, "ecx"),
      },
      0,
    ),
    // One thread in each core, all cores in one package.
    entry(0xb, { ebx: 1, ecx: 0x100, edx: index }, 0),
    entry(0xb, { eax: bitsFor(count), ebx: count, ecx: 0x201, edx: index }, 1),
    entry(0xb, { ecx: 2, edx: index }, 2),
    ...(has("xsave") ? xsaveEntries(model, entry) : []),
    entry(0x4000_0000, { eax: 0x4000_0001, ...hypervisor() }),
    entry(0x4000_0001, { eax: told(0x4000_0001, undefined, "eax") }),
    entry(0x8000_0000, { eax: 0x8000_0008, ...amd }),
    entry(0x8000_0001, {
      eax: processorSignature,
      // CMP_LEGACY: the logical processors are cores.
      ecx: told(0x8000_0001, undefined, "ecx") | (several ? 2 : 0),
      edx: ((standardEdx & repeatedEdx) | told(0x8000_0001, undefined, "edx")) >>> 0,
    }),
    ...[0, 1, 2].map((part) => {
      const text = brand.slice(16 * part);
      const values = { eax: word(text, 0), ebx: word(text, 4), ecx: word(text, 8), edx: word(text, 12) };
      return entry(0x8000_0002 + part, values);
    }),
    // 64 KiB of first-level cache each for code and data, 2-way, lines of 64 bytes; TLBs of 1024 entries.
    entry(0x8000_0005, { eax: 0x01ff_01ff, ebx: 0x01ff_01ff, ecx: 0x4002_0140, edx: 0x4002_0140 }),
    entry(0x8000_0006, { ebx: 0x4200_4200, ecx: 0x0200_8140 }),
    // The time-stamp counter's rate is constant: the VM's clock sees to it, across checkpoints too.
    entry(0x8000_0007, { edx: 1 << 8 }),
    entry(0x8000_0008, {
      // 40 bits of physical address, 48 of linear address.
      eax: 40 | (48 << 8),
      // FXSAVE and XSAVE always save the pointers to the last x87 instruction: Linux need not work around their absence.
      ebx: 1 << 2,
      ecx: several ? (bitsFor(count) << 12) | (count - 1) : 0,
    }),
  ];
}

/** Bits of an APIC id that tell `count` processors apart. */
function bitsFor(count: number): number {
  return Math.ceil(Math.log2(count));
}

/** Signature of KVM's paravirtual interface, of which `kvmclock` is a part (KVM cpuid.rst). */
function hypervisor(): Pick<CpuidValues, "ebx" | "ecx" | "edx"> {
  const { ebx, edx, ecx } = vendor("KVMKVMKVM\0\0\0");
  return { ebx, ecx: edx, edx: ecx };
}

function xsaveEntries(
  model: ProcessorModel,
  entry: (leaf: number, values: Partial<CpuidValues>, subleaf?: number) => CpuidEntry,
): CpuidEntry[] {
  const avx = model.features.has("avx");
  const size = avx ? xsaveSize + avxSize : xsaveSize;
  return [
    entry(0xd, { eax: Number(xcr0Of(model)), ebx: xsaveSize, ecx: size }, 0),
    // XSAVEOPT.
    entry(0xd, { eax: 1 }, 1),
    ...(avx ? [entry(0xd, { eax: avxSize, ebx: xsaveSize }, 2)] : []),
  ];
}
