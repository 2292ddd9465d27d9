/** I/O ports of the PC's pair of 8259A (Intel 8259A data sheet; ELCR: Intel 82371AB data sheet §4.2). */
export const ports = { master: 0x20, slave: 0xa0, edgeLevelControl: 0x4d0 } as const;

/** The master's input that the slave's output is wired to. */
export const cascadeInput = 2;

/** First initialisation command word, written to the even port. */
export const icw1 = { needsIcw4: 0x01, single: 0x02, levelTriggered: 0x08, select: 0x10 } as const;

export const icw4 = { automaticEoi: 0x02, specialFullyNested: 0x10 } as const;

/** Second operation command word: bits 7:5. */
export const ocw2 = { rotate: 0x80, specific: 0x40, endOfInterrupt: 0x20 } as const;

/** Third operation command word. */
export const ocw3 = {
  select: 0x08,
  readRegister: 0x02,
  readInService: 0x01,
  poll: 0x04,
  setSpecialMask: 0x40,
  specialMask: 0x20,
} as const;

/** Inputs 0, 1 and 2 of the master and 8 and 13 as a whole are edge-triggered on every PC. */
export const levelCapable = [0xf8, 0xde] as const;
