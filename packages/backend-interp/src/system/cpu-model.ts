import {
  type CpuidEntry,
  cpuidEntries,
  findProcessorModel,
  missingFeatures,
  type ProcessorFeature,
  type ProcessorModel,
  type ProcessorTopology,
} from "@cpr/core";

/** What a vCPU's CPU model means for the instructions that are not always there, and for CPUID. */
export interface ProcessorFeatures {
  readonly model: ProcessorModel;
  readonly fsgsbase: boolean;
  readonly supervisorExecutionPrevention: boolean;
  readonly userModeInstructionPrevention: boolean;
  readonly xsave: boolean;
  readonly random: boolean;
  readonly cpuid: readonly CpuidEntry[];
}

/** The default CPU model: its features are those that the interpreter has. */
const everything = findProcessorModel("cpr64-v2") as ProcessorModel;

/** The features of a CPU model that the interpreter lacks. */
export function lackingFeatures(model: ProcessorModel): readonly ProcessorFeature[] {
  return missingFeatures(model, (feature) => everything.features.has(feature));
}

/** The features of one vCPU. */
export function featuresOf(model: ProcessorModel, topology: ProcessorTopology): ProcessorFeatures {
  const { features } = model;
  return {
    model,
    fsgsbase: features.has("fsgsbase"),
    supervisorExecutionPrevention: features.has("smep"),
    userModeInstructionPrevention: features.has("umip"),
    xsave: features.has("xsave"),
    random: features.has("rdrand"),
    cpuid: cpuidEntries(model, topology),
  };
}

/** The features of a vCPU of the default model. */
export function defaultFeatures(topology: ProcessorTopology): ProcessorFeatures {
  return featuresOf(everything, topology);
}

/** The state that CPUID's answers depend on. */
export interface CpuidContext {
  readonly apicEnabled: boolean;
  /** CR4.OSXSAVE. */
  readonly osXsave: boolean;
}

/** EAX, EBX, ECX, EDX. */
export type CpuidResult = readonly [number, number, number, number];

const apicBit = 1 << 9;
const osXsaveBit = 1 << 27;

/** Executes CPUID (Intel SDM Vol. 2A; AMD APM Vol. 3 appendix E). */
export function cpuid(
  { cpuid: entries }: ProcessorFeatures,
  leaf: number,
  subleaf: number,
  { apicEnabled, osXsave }: CpuidContext,
): CpuidResult {
  const entry = entries.find((each) => each.leaf === leaf && (each.subleaf ?? subleaf) === subleaf);
  if (entry === undefined) return [0, 0, 0, 0];
  const { eax, ebx, ecx, edx } = entry;
  if (leaf !== 1 && leaf !== 0x8000_0001) return [eax, ebx, ecx, edx];
  return [eax, ebx, leaf === 1 && osXsave ? ecx | osXsaveBit : ecx, apicEnabled ? edx : edx & ~apicBit];
}
