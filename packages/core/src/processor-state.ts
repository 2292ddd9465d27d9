import { defaultTscFrequency } from "./clock.ts";
import { array, bool, bytes, struct, u8, u16, u32, u64 } from "./state/fields.ts";
import { defineState, type Fields, type StateOf } from "./state/schema.ts";

/** A segment register with its hidden part (KVM: `kvm_segment`; Intel SDM Vol. 3A §3.4.3). */
export const segmentState = defineState("cpu/segment", 1, {
  selector: u16,
  base: u64,
  /** In bytes, scaled by the granularity. */
  limit: u32,
  /** Descriptor bits 8 to 23 with the limit's bits cleared: type, S, DPL, P, AVL, L, D/B, G. */
  attributes: u16,
  unusable: bool,
});
export type SegmentState = StateOf<typeof segmentState>;

/** GDTR or IDTR. */
export const tableState = defineState("cpu/table", 1, { base: u64, limit: u16 });

/** One model-specific register. */
export const msrState = defineState("cpu/msr", 1, { index: u32, value: u64 });

const variableRangeCount = 8;
const fixedRanges = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f];

/**
 * The model-specific registers that a vCPU's state lists, with what they hold after reset; the others are fields of it, belong to
 * the local APIC, or are the same always. One that a backend or its host lacks is left out while it holds that value.
 */
export const savedMsrs: ReadonlyMap<number, bigint> = new Map([
  // STAR, LSTAR, CSTAR, SFMASK, KERNEL_GS_BASE, IA32_TSC_ADJUST.
  ...[0xc000_0081, 0xc000_0082, 0xc000_0083, 0xc000_0084, 0xc000_0102, 0x3b].map((index) => [index, 0n] as const),
  // IA32_SYSENTER_CS, _ESP and _EIP; IA32_MCG_STATUS; IA32_MISC_ENABLE; IA32_DEBUGCTL.
  ...[0x174, 0x175, 0x176, 0x17a].map((index) => [index, 0n] as const),
  [0x1a0, 1n],
  [0x1d9, 0n],
  // IA32_PAT; IA32_MTRR_DEF_TYPE and the ranges.
  [0x277, 0x0007_0406_0007_0406n],
  [0x2ff, 0n],
  ...Array.from({ length: 2 * variableRangeCount }, (_, index) => [0x200 + index, 0n] as const),
  ...fixedRanges.map((index) => [index, 0n] as const),
  // IA32_TSC_AUX.
  [0xc000_0103, 0n],
  // MSR_KVM_WALL_CLOCK_NEW, MSR_KVM_SYSTEM_TIME_NEW.
  [0x4b56_4d00, 0n],
  [0x4b56_4d01, 0n],
]);

/** The index of an unused place in the list of a vCPU's MSRs. */
export const unusedMsr = 0xffff_ffff;

/** How many MSRs a vCPU's state can hold. */
export const msrCapacity = 64;

const fields = {
  /** RAX RCX RDX RBX RSP RBP RSI RDI R8 … R15: the encoding's order. */
  registers: array(u64, 16),
  rip: u64,
  rflags: u64,
  /** ES CS SS DS FS GS: the encoding's order. */
  segments: array(struct(segmentState), 6),
  ldtr: struct(segmentState),
  tr: struct(segmentState),
  gdtr: struct(tableState),
  idtr: struct(tableState),
  cr0: u64,
  cr2: u64,
  cr3: u64,
  cr4: u64,
  cr8: u64,
  efer: u64,
  xcr0: u64,
  /** DR0 to DR3, DR6, DR7. */
  debugRegisters: array(u64, 6),
  /** The standard form of the XSAVE area (Intel SDM Vol. 1 §13.4): legacy region, header, AVX state; zero beyond. */
  xsave: bytes(4096),
  msrs: array(struct(msrState), msrCapacity),
  /** The guest's time-stamp counter at the moment the VM stopped. */
  tsc: u64,
  /** 0 runnable, 1 uninitialised (waits for INIT), 2 INIT received (waits for SIPI), 3 halted: KVM's mp_state values. */
  activity: u8,
  /** Interrupts are held off for one instruction: after STI (bit 0) or MOV SS (bit 1). */
  interruptShadow: u8,
  /** An NMI is being handled; further ones wait for IRET. */
  nmiMasked: bool,
  nmiPending: bool,
  /** An exception or interrupt whose delivery had begun but was not finished: valid, vector, has error code, error code. */
  pendingEvent: struct(
    defineState("cpu/pending-event", 1, {
      valid: bool,
      vector: u8,
      /** 0 external interrupt, 2 NMI, 3 exception, 4 software interrupt: the VMX encoding (Intel SDM Vol. 3C §25.8.3). */
      kind: u8,
      hasErrorCode: bool,
      errorCode: u32,
    }),
  ),
} as const satisfies Fields;

/**
 * The state of an x86-64 vCPU in backend-neutral form: what every execution backend fills when it saves and takes
 * when it loads. Names follow the Intel SDM; the grouping follows what KVM's ioctls give (KVM api.rst, KVM_GET_REGS,
 * KVM_GET_SREGS, KVM_GET_XSAVE, KVM_GET_VCPU_EVENTS, KVM_GET_MP_STATE, KVM_GET_DEBUGREGS).
 */
export const processorState = defineState(
  "cpu",
  2,
  {
    ...fields,
    /** Frequency of the time-stamp counter in Hz. */
    tscFrequency: u64,
    /** What kvmclock told the guest at the moment the VM stopped, in nanoseconds (KVM api.rst, KVM_GET_CLOCK). */
    systemTime: u64,
  },
  {
    1: {
      fields,
      // Only the interpreter had written states by then: its counter followed virtual nanoseconds, and it had no kvmclock.
      upgrade: (state) => ({ ...state, tscFrequency: BigInt(defaultTscFrequency), systemTime: 0n }),
    },
  },
);
export type ProcessorState = StateOf<typeof processorState>;
