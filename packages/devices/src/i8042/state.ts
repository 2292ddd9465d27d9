import { bool, bytes, defineState, type StateOf, u8 } from "@cpr/core";

/** How many bytes the controller and the keyboard can have waiting. */
export const queueCapacity = 16;

/** State of the keyboard controller with its keyboard. */
export const i8042State = defineState("i8042", 1, {
  memory: bytes(32),
  outputPort: u8,
  /** The command that waits for a byte at the data port, 0 if none does. */
  pendingCommand: u8,
  /** The last write went to the command port. */
  lastWasCommand: bool,
  queue: bytes(queueCapacity),
  queueLength: u8,
  /** The byte that the data port gave last: it can be read again. */
  lastData: u8,
  /** The keyboard command that waits for its parameter, 0 if none does. */
  keyboardCommand: u8,
  scanCodeSet: u8,
  indicators: u8,
  typematicRate: u8,
  scanning: bool,
});
export type I8042State = StateOf<typeof i8042State>;
