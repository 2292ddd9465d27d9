/** Registers of the 16550A (National Semiconductor PC16550D data sheet, table II): offsets from the base port. */
export const register = {
  /** Receiver buffer (read), transmitter holding register (write), divisor latch low byte. */
  data: 0,
  /** Interrupt enable, divisor latch high byte. */
  interruptEnable: 1,
  /** Interrupt identification (read), FIFO control (write). */
  interruptIdentification: 2,
  lineControl: 3,
  modemControl: 4,
  lineStatus: 5,
  modemStatus: 6,
  scratch: 7,
} as const;

export const interruptEnable = { received: 0x01, transmitterEmpty: 0x02, lineStatus: 0x04, modemStatus: 0x08 } as const;

/** Values of the interrupt identification register's low four bits, highest priority first. */
export const interruptIdentification = {
  lineStatus: 0x06,
  received: 0x04,
  characterTimeout: 0x0c,
  transmitterEmpty: 0x02,
  modemStatus: 0x00,
  none: 0x01,
  fifosEnabled: 0xc0,
} as const;

export const fifoControl = { enable: 0x01, resetReceiver: 0x02, resetTransmitter: 0x04, triggerShift: 6 } as const;

/** Bytes in the receiver FIFO at which the interrupt comes, by the FIFO control register's bits 7:6. */
export const triggerLevels = [1, 4, 8, 14] as const;

export const lineControl = { wordLength: 0x03, stopBits: 0x04, parity: 0x08, divisorLatch: 0x80 } as const;

export const modemControl = {
  dataTerminalReady: 0x01,
  requestToSend: 0x02,
  out1: 0x04,
  out2: 0x08,
  loopback: 0x10,
} as const;

export const lineStatus = {
  dataReady: 0x01,
  overrun: 0x02,
  parity: 0x04,
  framing: 0x08,
  breakInterrupt: 0x10,
  holdingRegisterEmpty: 0x20,
  transmitterEmpty: 0x40,
} as const;

export const modemStatus = {
  changes: 0x0f,
  ringTrailingEdge: 0x04,
  clearToSend: 0x10,
  dataSetReady: 0x20,
  ringIndicator: 0x40,
  carrierDetect: 0x80,
} as const;

/** Input clock of the PC's UART divided by its fixed prescaler of 16, in Hz: the bit rate at divisor 1. */
export const baseBitRate = 115_200;
