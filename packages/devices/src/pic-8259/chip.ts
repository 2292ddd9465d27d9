import { icw1, icw4, ocw2, ocw3 } from "./registers.ts";
import type { ChipState } from "./state.ts";

const powerOn: Readonly<ChipState> = {
  inputs: 0,
  interruptRequest: 0,
  inService: 0,
  mask: 0,
  vectorBase: 0,
  lowestPriority: 7,
  initialisation: 0,
  needsIcw4: false,
  single: false,
  levelTriggered: false,
  automaticEoi: false,
  rotateOnAutomaticEoi: false,
  specialFullyNested: false,
  specialMask: false,
  readInService: false,
  poll: false,
  edgeLevelControl: 0,
};

/** One 8259A (Intel 8259A data sheet). What its output leads to is {@link Pic8259}'s affair. */
export class Chip {
  /** Inputs to which another 8259A is wired: what is in service there does not hold off more from the same input. */
  readonly #cascade: number;
  /** Bits of the ELCR that this chip has. */
  readonly #levelCapable: number;
  readonly #changed: () => void;
  #state: ChipState = { ...powerOn };

  constructor(cascade: number, levelCapable: number, changed: () => void) {
    this.#cascade = cascade;
    this.#levelCapable = levelCapable;
    this.#changed = changed;
  }

  /** The input pins keep their levels: they are driven from outside. */
  reset(): void {
    this.#state = { ...powerOn, inputs: this.#state.inputs };
    this.#changed();
  }

  setInput(pin: number, level: boolean): void {
    const state = this.#state;
    const bit = 1 << pin;
    if (((state.inputs & bit) !== 0) === level) {
      return;
    }
    if (level) {
      state.inputs |= bit;
      state.interruptRequest |= bit;
    } else {
      state.inputs &= ~bit;
      // What the slave asked for went away with its own request, so the master asks no longer either.
      if (((this.#levelInputs() | this.#cascade) & bit) !== 0) {
        state.interruptRequest &= ~bit;
      }
    }
    this.#changed();
  }

  /** Whether INT is asserted. */
  get output(): boolean {
    return this.#highestRequest() >= 0;
  }

  /** The acknowledge cycle: moves the highest request into service; returns its input, or -1 if there is none. */
  acknowledge(): number {
    const input = this.#highestRequest();
    if (input < 0) {
      return -1;
    }
    const state = this.#state;
    const bit = 1 << input;
    if ((this.#levelInputs() & bit) === 0) {
      state.interruptRequest &= ~bit;
    }
    if (state.automaticEoi) {
      if (state.rotateOnAutomaticEoi) state.lowestPriority = input;
    } else {
      state.inService |= bit;
    }
    this.#changed();
    return input;
  }

  get vectorBase(): number {
    return this.#state.vectorBase;
  }

  readCommand(): number {
    const state = this.#state;
    if (state.poll) {
      state.poll = false;
      const input = this.acknowledge();
      return input < 0 ? 0 : 0x80 | input;
    }
    return state.readInService ? state.inService : state.interruptRequest;
  }

  readData(): number {
    return this.#state.poll ? this.readCommand() : this.#state.mask;
  }

  writeCommand(value: number): void {
    if ((value & icw1.select) !== 0) {
      this.#initialise(value);
    } else if ((value & ocw3.select) !== 0) {
      const state = this.#state;
      if ((value & ocw3.poll) !== 0) state.poll = true;
      if ((value & ocw3.readRegister) !== 0) state.readInService = (value & ocw3.readInService) !== 0;
      if ((value & ocw3.setSpecialMask) !== 0) state.specialMask = (value & ocw3.specialMask) !== 0;
    } else {
      this.#endOfInterrupt(value);
    }
    this.#changed();
  }

  writeData(value: number): void {
    const state = this.#state;
    switch (state.initialisation) {
      case 2:
        state.vectorBase = value & 0xf8;
        state.initialisation = state.single ? (state.needsIcw4 ? 4 : 0) : 3;
        break;
      case 3:
        // The cascade is wired, so there is nothing to learn from the third word.
        state.initialisation = state.needsIcw4 ? 4 : 0;
        break;
      case 4:
        state.automaticEoi = (value & icw4.automaticEoi) !== 0;
        state.specialFullyNested = (value & icw4.specialFullyNested) !== 0;
        state.initialisation = 0;
        break;
      default:
        state.mask = value;
        break;
    }
    this.#changed();
  }

  get edgeLevelControl(): number {
    return this.#state.edgeLevelControl;
  }

  set edgeLevelControl(value: number) {
    this.#state.edgeLevelControl = value & this.#levelCapable;
    this.#changed();
  }

  save(): ChipState {
    return { ...this.#state };
  }

  /** Why a state is impossible, or undefined if it is not. */
  problem(state: ChipState): string | undefined {
    if (state.lowestPriority > 7) return `lowest priority input ${state.lowestPriority}`;
    if (state.initialisation === 1 || state.initialisation > 4) return `initialisation word ${state.initialisation}`;
    if ((state.vectorBase & 7) !== 0) return `vector base ${state.vectorBase}`;
    if ((state.edgeLevelControl & ~this.#levelCapable) !== 0) return "an edge-triggered input is level-triggered";
    return undefined;
  }

  restore(state: ChipState): void {
    this.#state = { ...state };
    this.#changed();
  }

  #levelInputs(): number {
    return this.#state.levelTriggered ? 0xff : this.#state.edgeLevelControl;
  }

  #initialise(value: number): void {
    const { inputs, edgeLevelControl } = this.#state;
    this.#state = {
      ...powerOn,
      inputs,
      edgeLevelControl,
      initialisation: 2,
      needsIcw4: (value & icw1.needsIcw4) !== 0,
      single: (value & icw1.single) !== 0,
      levelTriggered: (value & icw1.levelTriggered) !== 0,
    };
    // The edge sense circuit is reset, so an input that is high must fall first; a level counts at once.
    this.#state.interruptRequest = inputs & this.#levelInputs();
  }

  #endOfInterrupt(value: number): void {
    const state = this.#state;
    const input = value & 7;
    switch (value & 0xe0) {
      case ocw2.endOfInterrupt:
      case ocw2.rotate | ocw2.endOfInterrupt: {
        const highest = this.#highest(state.inService & ~(state.specialMask ? state.mask : 0));
        if (highest >= 0) {
          this.#finish(highest);
          if ((value & ocw2.rotate) !== 0) state.lowestPriority = highest;
        }
        break;
      }
      case ocw2.specific | ocw2.endOfInterrupt:
        this.#finish(input);
        break;
      case ocw2.rotate | ocw2.specific | ocw2.endOfInterrupt:
        this.#finish(input);
        state.lowestPriority = input;
        break;
      case ocw2.rotate | ocw2.specific:
        state.lowestPriority = input;
        break;
      case ocw2.rotate:
        state.rotateOnAutomaticEoi = true;
        break;
      case 0:
        state.rotateOnAutomaticEoi = false;
        break;
      default:
        // 010: no operation.
        break;
    }
  }

  #finish(input: number): void {
    const bit = 1 << input;
    this.#state.inService &= ~bit;
    // A level that is still there asks again.
    this.#state.interruptRequest |= this.#state.inputs & this.#levelInputs() & bit;
  }

  /** The input of the highest priority among the bits, or -1. */
  #highest(bits: number): number {
    for (let rank = 1; rank <= 8; rank++) {
      const input = (this.#state.lowestPriority + rank) & 7;
      if ((bits & (1 << input)) !== 0) return input;
    }
    return -1;
  }

  #highestRequest(): number {
    const state = this.#state;
    const requests = state.interruptRequest & ~state.mask;
    if (requests === 0 || state.initialisation !== 0) {
      return -1;
    }
    const input = this.#highest(requests);
    let inService = state.inService;
    if (state.specialMask) {
      inService &= ~state.mask;
    }
    if (state.specialFullyNested) {
      inService &= ~this.#cascade;
    }
    const serviced = this.#highest(inService);
    if (serviced < 0) {
      return input;
    }
    const rank = (which: number): number => (which - state.lowestPriority + 7) & 7;
    if (state.specialMask) {
      // In special mask mode only the same input is held off.
      return this.#highest(requests & ~state.inService);
    }
    return rank(input) < rank(serviced) ? input : -1;
  }
}
