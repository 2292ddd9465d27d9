/**
 * The ACPI fixed hardware (ACPI 6.5 §4.8.3): offsets from the base port. The power management timer is 24 bits wide.
 */
export const offset = {
  status: 0x00,
  enable: 0x02,
  control: 0x04,
  timer: 0x08,
  generalStatus: 0x20,
  generalEnable: 0x22,
} as const;

/** Bytes that the device claims for its event, control and timer blocks, and for GPE block 0. */
export const blockSize = { power: 0x0c, general: 0x04 } as const;

/** PM1 status and enable registers. */
export const event = {
  timer: 0x0001,
  globalLock: 0x0020,
  powerButton: 0x0100,
  sleepButton: 0x0200,
  clock: 0x0400,
  /** Status only: the system has woken. */
  wake: 0x8000,
} as const;

/** PM1 control register. */
export const control = {
  sciEnabled: 0x0001,
  sleepTypeShift: 10,
  sleepType: 0x1c00,
  sleepEnable: 0x2000,
  writable: 0x1c07,
} as const;

/**
 * Values of the sleep type field, as the DSDT's \_S1, \_S3 and \_S5 objects give them. They never change: a guest keeps the DSDT that
 * it was booted with.
 */
export const sleepType = { standby: 1, memory: 3, softOff: 5 } as const;

/** Frequency of the power management timer in Hz. */
export const timerFrequency = 3_579_545;

/** The timer's event comes when its highest bit, 23, changes. */
export const timerHalf = 2 ** 23;
