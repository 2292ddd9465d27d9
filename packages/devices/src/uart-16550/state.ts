import { bool, bytes, defineState, type StateOf, u8, u16, u64 } from "@cpr/core";

/** Depth of both FIFOs. */
export const fifoDepth = 16;

/** State of a 16550A. The transmitter has none: a byte leaves when it is written. */
export const uartState = defineState("uart-16550", 1, {
  divisor: u16,
  interruptEnable: u8,
  fifoControl: u8,
  lineControl: u8,
  modemControl: u8,
  /** Error bits that reading the line status register clears. */
  lineErrors: u8,
  modemStatus: u8,
  scratch: u8,
  /** The interrupt for an empty transmitter waits. */
  transmitterInterrupt: bool,
  /** Received bytes have waited for four character times. */
  characterTimeout: bool,
  /** When {@link characterTimeout} comes, in virtual nanoseconds; all ones if it does not. */
  characterTimeoutDeadline: u64,
  receiveFifo: bytes(fifoDepth),
  receiveCount: u8,
});
export type UartState = StateOf<typeof uartState>;
