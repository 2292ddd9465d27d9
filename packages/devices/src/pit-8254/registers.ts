/** I/O ports of the PC's 8254 timer (Intel 8254 data sheet) and of the system control port that gates channel 2. */
export const ports = { counters: 0x40, systemControl: 0x61 } as const;

/** Input clock of all three counters in Hz: a twelfth of 14.31818 MHz. */
export const pitFrequency = 1_193_182;

/** Offset of the control word register. */
export const controlOffset = 3;

/** Bits 5:4 of a control word. */
export const access = { latch: 0, low: 1, high: 2, lowThenHigh: 3 } as const;

/** Bits of a read-back command, which are active low for the first two. */
export const readBack = { notCount: 0x20, notStatus: 0x10 } as const;

export const status = { output: 0x80, nullCount: 0x40 } as const;

export const systemControl = {
  channel2Gate: 0x01,
  speaker: 0x02,
  writable: 0x0f,
  /** Toggles with every refresh of memory. */
  refresh: 0x10,
  channel2Output: 0x20,
} as const;

/** Time between two refreshes in nanoseconds: channel 1's rate on the PC/AT. */
export const refreshPeriod = 15_085;
