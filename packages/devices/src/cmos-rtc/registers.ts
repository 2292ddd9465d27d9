/** I/O ports of the PC's MC146818A clock: index and data. */
export const ports = { base: 0x70, index: 0, data: 1 } as const;

/** Registers by their index (Motorola MC146818A data sheet, table 1). */
export const register = {
  seconds: 0x00,
  secondsAlarm: 0x01,
  minutes: 0x02,
  minutesAlarm: 0x03,
  hours: 0x04,
  hoursAlarm: 0x05,
  dayOfWeek: 0x06,
  dayOfMonth: 0x07,
  month: 0x08,
  year: 0x09,
  a: 0x0a,
  b: 0x0b,
  c: 0x0c,
  d: 0x0d,
  /** Where the FADT says that the century is. */
  century: 0x32,
} as const;

/** Register A: the divider's normal setting, 32.768 kHz, is 0x20. */
export const registerA = { updateInProgress: 0x80, divider: 0x70, dividerNormal: 0x20, rate: 0x0f } as const;

export const registerB = {
  set: 0x80,
  periodicInterrupt: 0x40,
  alarmInterrupt: 0x20,
  updateInterrupt: 0x10,
  binary: 0x04,
  twentyFourHours: 0x02,
} as const;

export const registerC = { interrupt: 0x80, periodic: 0x40, alarm: 0x20, update: 0x10, flags: 0x70 } as const;

/** Register D: the battery is good. */
export const validTime = 0x80;

/** In 12-hour mode, bit 7 of the hours is set in the afternoon. */
export const afternoon = 0x80;

/** An alarm field with these bits matches any time. */
export const alarmAny = 0xc0;

export const memorySize = 128;

/** How long before the change of the second the update-in-progress bit is set, in nanoseconds. */
export const updateWarning = 244_000;

/** Frequency of the clock's crystal in Hz. */
export const timeBaseFrequency = 32_768;
