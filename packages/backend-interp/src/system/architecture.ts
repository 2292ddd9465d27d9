/** Names of architectural bits and numbers (Intel SDM Vol. 3A chapters 2, 3 and 6). */

/** Exception vectors. */
export const vector = {
  divideError: 0,
  debug: 1,
  nonMaskable: 2,
  breakpoint: 3,
  overflow: 4,
  boundRange: 5,
  invalidOpcode: 6,
  deviceNotAvailable: 7,
  doubleFault: 8,
  invalidTss: 10,
  segmentNotPresent: 11,
  stackFault: 12,
  generalProtection: 13,
  pageFault: 14,
  floatingPoint: 16,
  alignmentCheck: 17,
  simd: 19,
} as const;

/** RFLAGS. */
export const flag = {
  carry: 1 << 0,
  fixed: 1 << 1,
  parity: 1 << 2,
  adjust: 1 << 4,
  zero: 1 << 6,
  sign: 1 << 7,
  trap: 1 << 8,
  interrupt: 1 << 9,
  direction: 1 << 10,
  overflow: 1 << 11,
  ioPrivilege: 3 << 12,
  nestedTask: 1 << 14,
  resume: 1 << 16,
  virtual8086: 1 << 17,
  alignment: 1 << 18,
  virtualInterrupt: 1 << 19,
  virtualPending: 1 << 20,
  identification: 1 << 21,
} as const;
/** CF PF AF ZF SF OF. */
export const arithmeticFlags = 0x8d5;
/** All bits of RFLAGS that exist. */
export const definedFlags = 0x3f_7fd7;

export const cr0 = {
  protection: 1 << 0,
  monitor: 1 << 1,
  emulation: 1 << 2,
  taskSwitched: 1 << 3,
  extensionType: 1 << 4,
  numericError: 1 << 5,
  writeProtect: 1 << 16,
  alignment: 1 << 18,
  notWriteThrough: 1 << 29,
  cacheDisable: 1 << 30,
  paging: 0x8000_0000,
} as const;

export const cr4 = {
  virtual8086: 1 << 0,
  protectedVirtualInterrupts: 1 << 1,
  timeStampDisable: 1 << 2,
  debuggingExtensions: 1 << 3,
  pageSize: 1 << 4,
  physicalAddressExtension: 1 << 5,
  machineCheck: 1 << 6,
  pageGlobal: 1 << 7,
  performanceCounter: 1 << 8,
  fxsave: 1 << 9,
  simdExceptions: 1 << 10,
  userModeInstructionPrevention: 1 << 11,
  fsgsbase: 1 << 16,
  xsave: 1 << 18,
  supervisorExecution: 1 << 20,
} as const;

export const efer = {
  systemCall: 1 << 0,
  longModeEnable: 1 << 8,
  longModeActive: 1 << 10,
  noExecute: 1 << 11,
  fastFxsave: 1 << 14,
} as const;

/** Segment registers in encoding order, then the two system ones, as indices for {@link Registers}. */
export const segment = { es: 0, cs: 1, ss: 2, ds: 3, fs: 4, gs: 5, ldtr: 6, tr: 7 } as const;

/** Attributes of a segment: descriptor bits 8 to 23. */
export const attribute = {
  accessed: 1 << 0,
  /** Code: readable; data: writable. */
  readWrite: 1 << 1,
  /** Code: conforming; data: expands down. */
  conforming: 1 << 2,
  code: 1 << 3,
  /** S: a code or data segment. */
  ordinary: 1 << 4,
  privilege: 3 << 5,
  present: 1 << 7,
  long: 1 << 13,
  big: 1 << 14,
  granular: 1 << 15,
} as const;
export const privilegeShift = 5;

/** Types of system descriptors; in long mode the 32-bit numbers mean the 64-bit kinds. */
export const systemType = {
  tss16: 1,
  ldt: 2,
  tss16Busy: 3,
  callGate16: 4,
  taskGate: 5,
  interruptGate16: 6,
  trapGate16: 7,
  tss: 9,
  tssBusy: 11,
  callGate: 12,
  interruptGate: 14,
  trapGate: 15,
} as const;

/** General-purpose registers in encoding order. */
export const register = { rax: 0, rcx: 1, rdx: 2, rbx: 3, rsp: 4, rbp: 5, rsi: 6, rdi: 7 } as const;

/** Widths of addresses: what CPUID leaf 0x80000008 tells. */
export const physicalAddressBits = 40;
export const linearAddressBits = 48;
