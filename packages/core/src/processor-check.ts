import { type ProcessorFeature, type ProcessorModel, xcr0Of } from "./processor-model.ts";
import { type ProcessorState, processorState, savedMsrs, unusedMsr } from "./processor-state.ts";
import { checkFields } from "./state/fields.ts";

const physicalAddressBits = 40n;
/** CR0: PE, ET, NW, CD, PG. */
const cr0 = {
  protection: 1n,
  extensionType: 0x10n,
  notWriteThrough: 1n << 29n,
  cacheDisable: 1n << 30n,
  paging: 1n << 31n,
};
/** EFER: SCE, LME, LMA, NXE. */
const efer = { longModeEnable: 0x100n, longModeActive: 0x400n, all: 0xd01n } as const;
const physicalAddressExtension = 0x20n;
/** RFLAGS bits that exist, from CF to ID; bit 1 is always set. */
const flags = { all: 0x3f_7fd7n, fixed: 2n, virtual8086: 0x2_0000n } as const;
/** Bits of a segment's attributes: L, D/B, and all that is no part of the limit. */
const attribute = { long: 0x2000, big: 0x4000, all: 0xf0ff } as const;
const codeSegment = 1;

/** Bits of CR4 that every CPU model has: TSD, DE, PSE, PAE, MCE, PGE, PCE, OSFXSR, OSXMMEXCPT. */
const commonCr4 = 0x7fcn;
const cr4OfFeatures: readonly (readonly [ProcessorFeature, bigint])[] = [
  ["umip", 1n << 11n],
  ["fsgsbase", 1n << 16n],
  ["xsave", 1n << 18n],
  ["smep", 1n << 20n],
];

/** Offsets in the XSAVE area (Intel SDM Vol. 1 §13.4). */
const xsaveAt = { mxcsr: 24, components: 512, reserved: 520, extended: 576, end: 832 } as const;
const mxcsrBits = 0xffff;

/**
 * Why no vCPU of a CPU model can be in a state, or undefined if one can be. It says what the architecture says (Intel SDM
 * Vol. 3A §2.5, §3.4.5, Vol. 1 §13.3); a backend may have further reasons.
 */
export function processorStateProblem(state: ProcessorState, model: ProcessorModel): string | undefined {
  return (
    checkFields(processorState.fields, state) ??
    controlProblem(state, model) ??
    modeProblem(state) ??
    segmentProblem(state) ??
    extendedStateProblem(state, xcr0Of(model)) ??
    msrProblem(state) ??
    clockProblem(state) ??
    eventProblem(state)
  );
}

function isCanonical(address: bigint): boolean {
  return BigInt.asUintN(64, BigInt.asIntN(48, address)) === address;
}

function controlProblem(state: ProcessorState, { features }: ProcessorModel): string | undefined {
  if (state.cr0 >> 32n !== 0n) return "CR0 has reserved bits set";
  if ((state.cr0 & cr0.extensionType) === 0n) return "CR0.ET is clear";
  if ((state.cr0 & cr0.paging) !== 0n && (state.cr0 & cr0.protection) === 0n) return "CR0.PG is set without CR0.PE";
  if ((state.cr0 & cr0.notWriteThrough) !== 0n && (state.cr0 & cr0.cacheDisable) === 0n) {
    return "CR0.NW is set without CR0.CD";
  }
  const cr4 = cr4OfFeatures.reduce((bits, [feature, bit]) => (features.has(feature) ? bits | bit : bits), commonCr4);
  if ((state.cr4 & ~cr4) !== 0n) return "CR4 has bits set that this CPU model lacks";
  if ((state.efer & ~efer.all) !== 0n) return "EFER has reserved bits set";
  return state.cr8 > 15n ? "CR8 is greater than 15" : undefined;
}

function modeProblem(state: ProcessorState): string | undefined {
  const long = (state.cr0 & cr0.paging) !== 0n && (state.efer & efer.longModeEnable) !== 0n;
  if (((state.efer & efer.longModeActive) !== 0n) !== long) return "EFER.LMA contradicts CR0.PG and EFER.LME";
  if (long && (state.cr4 & physicalAddressExtension) === 0n) return "long mode is on without CR4.PAE";
  if (state.cr3 >> (long ? physicalAddressBits : 32n) !== 0n) return "CR3 has reserved bits set";
  if ((state.rflags & ~flags.all) !== 0n || (state.rflags & flags.fixed) === 0n) {
    return "RFLAGS has reserved bits set, or bit 1 clear";
  }
  if ((state.rflags & flags.virtual8086) !== 0n && (long || (state.cr0 & cr0.protection) === 0n)) {
    return "RFLAGS.VM is set outside protected mode";
  }
  const code64 = ((state.segments[codeSegment]?.attributes ?? 0) & attribute.long) !== 0;
  if (code64 && !long) return "CS is a 64-bit segment outside long mode";
  if (long && code64 ? !isCanonical(state.rip) : state.rip >> 32n !== 0n) return "RIP is out of range";
  return state.debugRegisters.some((value, index) => index >= 4 && value >> 32n !== 0n)
    ? "DR6 or DR7 has reserved bits set"
    : undefined;
}

function segmentProblem(state: ProcessorState): string | undefined {
  for (const { attributes, base } of [...state.segments, state.ldtr, state.tr]) {
    if ((attributes & ~attribute.all) !== 0) return "a segment's attributes have bits of its limit set";
    if (!isCanonical(base)) return "a segment's base is not canonical";
  }
  const both = attribute.long | attribute.big;
  if (((state.segments[codeSegment]?.attributes ?? 0) & both) === both) {
    return "CS is both a 64-bit and a 32-bit segment";
  }
  return isCanonical(state.gdtr.base) && isCanonical(state.idtr.base)
    ? undefined
    : "the base of GDTR or IDTR is not canonical";
}

function extendedStateProblem({ xcr0, xsave }: ProcessorState, components: bigint): string | undefined {
  if ((xcr0 & 1n) === 0n || (xcr0 & ~components) !== 0n) {
    return "XCR0 lacks x87 or has components that this CPU model lacks";
  }
  const view = new DataView(xsave.buffer, xsave.byteOffset, xsave.byteLength);
  if ((view.getUint32(xsaveAt.mxcsr, true) & ~mxcsrBits) !== 0) return "MXCSR has reserved bits set";
  if ((view.getBigUint64(xsaveAt.components, true) & ~components) !== 0n) {
    return "the XSAVE area has components that this CPU model lacks";
  }
  const avx = (components & 4n) !== 0n;
  const zero = (from: number, to?: number): boolean => xsave.subarray(from, to).every((byte) => byte === 0);
  return zero(xsaveAt.reserved, xsaveAt.extended) && zero(avx ? xsaveAt.end : xsaveAt.extended)
    ? undefined
    : "the XSAVE area is not zero beyond its components";
}

function msrProblem({ msrs }: ProcessorState): string | undefined {
  const unknown = msrs.find(({ index }) => index !== unusedMsr && !savedMsrs.has(index));
  return unknown === undefined ? undefined : `MSR 0x${unknown.index.toString(16)} is none that a state has`;
}

function clockProblem({ tscFrequency, systemTime }: ProcessorState): string | undefined {
  if (tscFrequency < 1_000_000n || tscFrequency > 100_000_000_000n) {
    return `the time-stamp counter runs at ${tscFrequency} Hz`;
  }
  return systemTime > BigInt(Number.MAX_SAFE_INTEGER) ? "kvmclock is out of range" : undefined;
}

function eventProblem({ activity, interruptShadow, pendingEvent }: ProcessorState): string | undefined {
  if (activity > 3) return `the vCPU's activity ${activity} is unknown`;
  if (interruptShadow > 3) return `the vCPU's interrupt shadow ${interruptShadow} is unknown`;
  if (!pendingEvent.valid) return undefined;
  const { kind, vector } = pendingEvent;
  if (![0, 2, 3, 4].includes(kind)) return `the kind ${kind} of the pending event is unknown`;
  return kind === 3 && vector > 31 ? `there is no exception ${vector}` : undefined;
}
