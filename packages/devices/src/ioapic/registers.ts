/** The IOAPIC's window in guest-physical address space (Intel 82093AA data sheet; 0xfec00000 on every PC). */
export const window = { base: 0xfec0_0000, size: 0x1000 } as const;

/** Offsets in the window. */
export const offset = { select: 0x00, data: 0x10, endOfInterrupt: 0x40 } as const;

/** Values of the select register. */
export const register = { id: 0x00, version: 0x01, arbitration: 0x02, redirection: 0x10 } as const;

export const pinCount = 24;

/** Version 0x20 has the end-of-interrupt register. */
export const version = 0x20;

/** Low word of a redirection entry. */
export const redirection = {
  vector: 0x0000_00ff,
  deliveryShift: 8,
  logical: 0x0000_0800,
  deliveryStatus: 0x0000_1000,
  activeLow: 0x0000_2000,
  remoteRequest: 0x0000_4000,
  level: 0x0000_8000,
  masked: 0x0001_0000,
  readOnly: 0x0000_5000,
  writable: 0x0001_afff,
} as const;
