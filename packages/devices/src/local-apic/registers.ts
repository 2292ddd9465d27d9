/** Offsets in the local APIC's page (Intel SDM Vol. 3A table 11-1); an x2APIC MSR is 0x800 plus a sixteenth of it. */
export const register = {
  id: 0x020,
  version: 0x030,
  taskPriority: 0x080,
  arbitrationPriority: 0x090,
  processorPriority: 0x0a0,
  endOfInterrupt: 0x0b0,
  remoteRead: 0x0c0,
  logicalDestination: 0x0d0,
  destinationFormat: 0x0e0,
  spurious: 0x0f0,
  inService: 0x100,
  triggerMode: 0x180,
  interruptRequest: 0x200,
  errorStatus: 0x280,
  commandLow: 0x300,
  commandHigh: 0x310,
  timer: 0x320,
  thermal: 0x330,
  performance: 0x340,
  lint0: 0x350,
  lint1: 0x360,
  error: 0x370,
  initialCount: 0x380,
  currentCount: 0x390,
  divideConfiguration: 0x3e0,
  /** x2APIC mode only. */
  selfInterrupt: 0x3f0,
} as const;

/** Version 0x14 (an integrated APIC) with six local vector table entries. */
export const version = 0x0005_0014;

/** The local vector table in the order of its registers, with the bits that can be written. */
export const localVectors = [
  { name: "timer", writable: 0x0007_00ff },
  { name: "thermal", writable: 0x0001_07ff },
  { name: "performance", writable: 0x0001_07ff },
  { name: "lint0", writable: 0x0001_a7ff },
  { name: "lint1", writable: 0x0001_a7ff },
  { name: "error", writable: 0x0001_00ff },
] as const;

/** Places in the local vector table. */
export const vectorTable = { timer: 0, thermal: 1, performance: 2, lint0: 3, lint1: 4, error: 5 } as const;

export const localVector = {
  vector: 0x0000_00ff,
  deliveryShift: 8,
  level: 0x0000_8000,
  masked: 0x0001_0000,
  timerMode: 0x0006_0000,
  periodic: 0x0002_0000,
  tscDeadline: 0x0004_0000,
} as const;

export const spurious = { vector: 0xff, enabled: 0x100, writable: 0x3ff } as const;

/** Bits of the error status register. */
export const errorStatus = { sendIllegalVector: 0x20, receiveIllegalVector: 0x40, illegalRegister: 0x80 } as const;

/** Low word of the interrupt command register (Intel SDM Vol. 3A figure 11-12). */
export const command = {
  vector: 0xff,
  deliveryShift: 8,
  logical: 0x0800,
  assert: 0x4000,
  level: 0x8000,
  shorthandShift: 18,
  writable: 0x000c_cfff,
} as const;

export const msr = { apicBase: 0x1b, tscDeadline: 0x6e0, x2apicFirst: 0x800, x2apicLast: 0x83f } as const;

/** IA32_APIC_BASE (Intel SDM Vol. 3A figure 11-5). */
export const apicBase = { bootProcessor: 0x100n, x2apic: 0x400n, enabled: 0x800n, address: 0xfee0_0000n } as const;
