import { keyboardAnswer, keyboardCommand, keyboardIdentification } from "./registers.ts";

/** What of the keyboard is saved. */
export interface KeyboardState {
  keyboardCommand: number;
  scanCodeSet: number;
  indicators: number;
  typematicRate: number;
  scanning: boolean;
}

const defaults: Readonly<KeyboardState> = {
  keyboardCommand: 0,
  scanCodeSet: 2,
  indicators: 0,
  typematicRate: 0x2b,
  scanning: true,
};

/** An MF2 keyboard on which nobody types: it answers the commands that drivers probe with. */
export class Keyboard {
  #state: KeyboardState = { ...defaults };

  reset(): void {
    this.#state = { ...defaults };
  }

  /** Takes a byte and returns what the keyboard sends back. */
  receive(byte: number): readonly number[] {
    const state = this.#state;
    const pending = state.keyboardCommand;
    state.keyboardCommand = 0;
    switch (pending) {
      case keyboardCommand.setIndicators:
        state.indicators = byte;
        return [keyboardAnswer.acknowledge];
      case keyboardCommand.setRate:
        state.typematicRate = byte;
        return [keyboardAnswer.acknowledge];
      case keyboardCommand.scanCodeSet:
        if (byte === 0) return [keyboardAnswer.acknowledge, state.scanCodeSet];
        if (byte > 3) return [keyboardAnswer.resend];
        state.scanCodeSet = byte;
        return [keyboardAnswer.acknowledge];
      default:
        return this.#command(byte);
    }
  }

  save(): KeyboardState {
    return { ...this.#state };
  }

  restore({ keyboardCommand, scanCodeSet, indicators, typematicRate, scanning }: KeyboardState): void {
    this.#state = { keyboardCommand, scanCodeSet, indicators, typematicRate, scanning };
  }

  #command(byte: number): readonly number[] {
    switch (byte) {
      case keyboardCommand.setIndicators:
      case keyboardCommand.setRate:
      case keyboardCommand.scanCodeSet:
        this.#state.keyboardCommand = byte;
        return [keyboardAnswer.acknowledge];
      case keyboardCommand.echo:
        return [keyboardAnswer.echo];
      case keyboardCommand.identify:
        return [keyboardAnswer.acknowledge, ...keyboardIdentification];
      case keyboardCommand.enable:
        this.#state.scanning = true;
        return [keyboardAnswer.acknowledge];
      case keyboardCommand.disable:
        this.#state = { ...defaults, scanning: false };
        return [keyboardAnswer.acknowledge];
      case keyboardCommand.setDefaults:
        this.#state = { ...defaults };
        return [keyboardAnswer.acknowledge];
      case keyboardCommand.reset:
        this.#state = { ...defaults };
        return [keyboardAnswer.acknowledge, keyboardAnswer.passed];
      default:
        return [keyboardAnswer.resend];
    }
  }
}
