/** Version 0x14 (an integrated APIC) with six local vector table entries. */
export const version = 0x0005_0014;

/** Places in the local vector table. */
export const vectorTable = { timer: 0, thermal: 1, performance: 2, lint0: 3, lint1: 4, error: 5 } as const;

export const localVector = {
  vector: 0x0000_00ff,
  deliveryShift: 8,
  level: 0x0000_8000,
  masked: 0x0001_0000,
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
