/** I/O ports of the keyboard controller (IBM PC/AT Technical Reference; Intel 8042 as programmed there). */
export const ports = { data: 0x60, command: 0x64 } as const;

/** Status register, read at the command port. */
export const status = { outputFull: 0x01, systemFlag: 0x04, command: 0x08, keyboardUnlocked: 0x10 } as const;

/** Commands written to the command port. */
export const command = {
  readMemoryFirst: 0x20,
  readMemoryLast: 0x3f,
  writeMemoryFirst: 0x60,
  writeMemoryLast: 0x7f,
  disableAuxiliary: 0xa7,
  enableAuxiliary: 0xa8,
  testAuxiliary: 0xa9,
  selfTest: 0xaa,
  testKeyboard: 0xab,
  disableKeyboard: 0xad,
  enableKeyboard: 0xae,
  readInputPort: 0xc0,
  readOutputPort: 0xd0,
  writeOutputPort: 0xd1,
  writeKeyboardOutput: 0xd2,
  writeAuxiliaryOutput: 0xd3,
  writeAuxiliary: 0xd4,
  pulseFirst: 0xf0,
} as const;

/** The controller's command byte: byte 0 of its memory. */
export const commandByte = {
  keyboardInterrupt: 0x01,
  systemFlag: 0x04,
  keyboardDisabled: 0x10,
  auxiliaryDisabled: 0x20,
  translate: 0x40,
} as const;

/** The output port; the reset line is active low. */
export const outputPort = { notReset: 0x01, a20: 0x02, keyboardFull: 0x10, powerOn: 0xcf } as const;

export const selfTestPassed = 0x55;
export const portTestPassed = 0x00;
/** Answer of the interface test for a port that is not there: the clock line is stuck low. */
export const portTestClockLow = 0x01;

/** Commands to the keyboard (IBM PC/AT Technical Reference, keyboard section). */
export const keyboardCommand = {
  setIndicators: 0xed,
  echo: 0xee,
  scanCodeSet: 0xf0,
  identify: 0xf2,
  setRate: 0xf3,
  enable: 0xf4,
  disable: 0xf5,
  setDefaults: 0xf6,
  resend: 0xfe,
  reset: 0xff,
} as const;

/** What the keyboard answers. */
export const keyboardAnswer = { acknowledge: 0xfa, echo: 0xee, passed: 0xaa, resend: 0xfe } as const;

/** Identification of an MF2 keyboard; with translation on, its second byte reads 0x41. */
export const keyboardIdentification = [0xab, 0x83] as const;
