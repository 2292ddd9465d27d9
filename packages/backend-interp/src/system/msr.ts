import { savedMsrs } from "@cpr/core";
import { cstarAt, fmaskAt, kernelGsBaseAt, lstarAt, starAt } from "../layout.ts";
import type { CoreMemory } from "../processor-interface.ts";
import { cr0, efer, segment } from "./architecture.ts";
import { isCanonical } from "./descriptors.ts";
import { isClockMsr, type ParavirtualClock } from "./paravirtual-clock.ts";
import type { Registers } from "./registers.ts";
import type { TimeStampCounter } from "./time-stamp-counter.ts";

/** Numbers of model-specific registers (Intel SDM Vol. 4, AMD APM Vol. 2 appendix A). */
export const msr = {
  timeStampCounter: 0x10,
  apicBase: 0x1b,
  tscAdjust: 0x3b,
  biosSignature: 0x8b,
  mtrrCapability: 0xfe,
  sysenterSelector: 0x174,
  sysenterStack: 0x175,
  sysenterTarget: 0x176,
  machineCheckCapability: 0x179,
  machineCheckStatus: 0x17a,
  miscellaneousEnable: 0x1a0,
  debugControl: 0x1d9,
  pageAttributeTable: 0x277,
  mtrrDefaultType: 0x2ff,
  efer: 0xc000_0080,
  star: 0xc000_0081,
  lstar: 0xc000_0082,
  cstar: 0xc000_0083,
  fmask: 0xc000_0084,
  fsBase: 0xc000_0100,
  gsBase: 0xc000_0101,
  kernelGsBase: 0xc000_0102,
  tscAux: 0xc000_0103,
} as const;

/** MTRRs: eight variable ranges, then the fixed ones. */
const variableRanges = 8;
const fixedRanges: readonly number[] = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f];
/** Fixed ranges and write-combining are there. */
const mtrrCapability = BigInt(variableRanges | 0x500);

/** Registers whose value lies in the core memory. */
const slots: ReadonlyMap<number, number> = new Map([
  [msr.star, starAt],
  [msr.lstar, lstarAt],
  [msr.cstar, cstarAt],
  [msr.fmask, fmaskAt],
  [msr.kernelGsBase, kernelGsBaseAt],
]);

/** Registers that just hold a value, with what they hold after reset. */
const stored: ReadonlyMap<number, bigint> = new Map(
  [...savedMsrs].filter(([index]) => !slots.has(index) && index !== msr.tscAdjust && !isClockMsr(index)),
);

/** Read-only ones, and ones of AMD's that Linux reads or writes without being ready for #GP: writes have no effect. */
const constant: ReadonlyMap<number, bigint> = new Map<number, bigint>([
  // IA32_PLATFORM_ID, EBL_CR_POWERON, FEATURE_CONTROL-like reads that firmware makes.
  [0x17, 0n],
  [msr.biosSignature, 0n],
  [msr.mtrrCapability, mtrrCapability],
  [msr.machineCheckCapability, 0n],
  // PATCH_LEVEL is biosSignature; PATCH_LOADER takes microcode, which there is none of.
  // SYSCFG, HWCR (the counter runs at its nominal rate), NB_CFG, interrupt pending message.
  [0xc001_0010, 0n],
  [0xc001_0015, 0x0100_0000n],
  [0xc001_001f, 0n],
  [0xc001_0055, 0n],
  // TOP_MEM2 and the like, OSVW: no known errata; C-state base; decode configuration.
  [0xc001_001a, 0n],
  [0xc001_001d, 0n],
  [0xc001_0140, 0n],
  [0xc001_0141, 0n],
  [0xc001_0073, 0n],
  [0xc001_1004, 0n],
  [0xc001_1005, 0n],
  [0xc001_1020, 0n],
  [0xc001_1022, 0n],
  [0xc001_1023, 0n],
  [0xc001_1029, 0n],
  [0xc001_102a, 0n],
  [0xc001_102d, 0n],
]);

/** What the registers need of their processor beside its register file. */
export interface ModelRegistersOwner {
  readonly core: CoreMemory;
  readonly registers: Registers;
  readonly timeStamp: TimeStampCounter;
  readonly paravirtualClock: ParavirtualClock;
  readInterruptsMsr(index: number): bigint | undefined;
  writeInterruptsMsr(index: number, value: bigint): boolean | "fault";
  modeChanged(): void;
  flushTranslations(keepGlobal: boolean): void;
}

const memoryTypes = (value: bigint): boolean => {
  for (let shift = 0n; shift < 64n; shift += 8n) {
    const type = (value >> shift) & 0xffn;
    if (type > 7n || type === 2n || type === 3n) return false;
  }
  return true;
};

/** The model-specific registers of a vCPU. */
export class ModelSpecificRegisters {
  /** Slot of IA32_KERNEL_GS_BASE. */
  readonly kernelGsBaseSlot = kernelGsBaseAt;
  readonly #owner: ModelRegistersOwner;
  readonly #values = new Map(stored);
  constructor(owner: ModelRegistersOwner) {
    this.#owner = owner;
  }

  reset(): void {
    for (const [index, value] of stored) {
      this.#values.set(index, value);
    }
    this.#owner.paravirtualClock.reset();
    for (const slot of slots.values()) {
      this.#owner.core.u64[slot >> 3] = 0n;
    }
  }

  get sysenterSelector(): bigint {
    return this.#values.get(msr.sysenterSelector) as bigint;
  }
  get sysenterStack(): bigint {
    return this.#values.get(msr.sysenterStack) as bigint;
  }
  get sysenterTarget(): bigint {
    return this.#values.get(msr.sysenterTarget) as bigint;
  }
  get tscAux(): bigint {
    return this.#values.get(msr.tscAux) as bigint;
  }

  /** Undefined if there is no such register: #GP. */
  read(index: number): bigint | undefined {
    const { registers, core } = this.#owner;
    const slot = slots.get(index);
    if (slot !== undefined) return core.u64[slot >> 3];
    switch (index) {
      case msr.timeStampCounter:
        return this.#owner.timeStamp.read();
      case msr.tscAdjust:
        return this.#owner.timeStamp.adjust;
      case msr.efer:
        return BigInt(registers.efer);
      case msr.fsBase:
        return registers.segmentBase(segment.fs);
      case msr.gsBase:
        return registers.segmentBase(segment.gs);
      default:
        return (
          this.#owner.readInterruptsMsr(index) ??
          this.#values.get(index) ??
          this.#owner.paravirtualClock.read(index) ??
          constant.get(index)
        );
    }
  }

  /** False if there is no such register or the value is not allowed: #GP. */
  write(index: number, value: bigint): boolean {
    const { registers, core } = this.#owner;
    switch (index) {
      case msr.timeStampCounter:
        this.#owner.timeStamp.write(value);
        return true;
      case msr.tscAdjust:
        this.#owner.timeStamp.adjust = value;
        return true;
      case msr.efer:
        return this.#writeEfer(value);
      case msr.fsBase:
      case msr.gsBase:
        if (!isCanonical(value)) return false;
        registers.setSegmentBase(index === msr.fsBase ? segment.fs : segment.gs, value);
        return true;
      default:
    }
    const slot = slots.get(index);
    if (slot !== undefined) {
      if (!this.isAllowed(index, value)) return false;
      core.u64[slot >> 3] = value;
      return true;
    }
    const taken = this.#owner.writeInterruptsMsr(index, value);
    if (taken !== false) return taken === true;
    if (this.#values.has(index)) {
      if (!this.isAllowed(index, value)) return false;
      this.#values.set(index, value);
      return true;
    }
    if (this.#owner.paravirtualClock.write(index, value)) return true;
    if (index === msr.mtrrCapability || index === msr.machineCheckCapability) return false;
    return constant.has(index);
  }

  /** Whether a register that just holds a value may hold this one. */
  isAllowed(index: number, value: bigint): boolean {
    if (index === msr.lstar || index === msr.cstar || index === msr.kernelGsBase) return isCanonical(value);
    if (index === msr.pageAttributeTable) return memoryTypes(value) && !containsReservedAttribute(value);
    if (fixedRanges.includes(index)) return memoryTypes(value);
    if (index === msr.sysenterStack || index === msr.sysenterTarget) return isCanonical(value);
    if (index === msr.tscAux) return value < 1n << 32n;
    if (index === msr.mtrrDefaultType) return (value & ~0xcffn) === 0n && (value & 0xffn) <= 6n;
    return true;
  }

  #writeEfer(value: bigint): boolean {
    const { registers } = this.#owner;
    const allowed = efer.systemCall | efer.longModeEnable | efer.longModeActive | efer.noExecute;
    if ((value & ~BigInt(allowed)) !== 0n) return false;
    const before = registers.efer;
    const next = (Number(value) & ~efer.longModeActive) | (before & efer.longModeActive);
    const paging = (registers.cr0 & cr0.paging) !== 0;
    if (paging && ((before ^ next) & efer.longModeEnable) !== 0) return false;
    registers.efer = next;
    if (((before ^ next) & efer.noExecute) !== 0) {
      this.#owner.flushTranslations(false);
    }
    this.#owner.modeChanged();
    return true;
  }
}

/** PAT types 2 and 3 are reserved; MTRRs lack type 7 (UC-). */
function containsReservedAttribute(value: bigint): boolean {
  for (let shift = 0n; shift < 64n; shift += 8n) {
    const type = (value >> shift) & 0xffn;
    if (type === 2n || type === 3n) return true;
  }
  return false;
}
