import { access, status } from "./registers.ts";
import type { CounterState } from "./state.ts";

/**
 * One counter of the 8254. Nothing in it ticks: what it shows follows from the tick at which the counting began.
 * Ticks are those of the input clock since virtual time 0.
 */
export class Counter {
  #state: CounterState;
  readonly #powerOnGate: boolean;

  /** @param gate the gate's level at power-on; channels 0 and 1 have theirs tied high */
  constructor(gate: boolean) {
    this.#powerOnGate = gate;
    this.#state = this.#powerOn();
  }

  reset(): void {
    this.#state = this.#powerOn();
  }

  get gate(): boolean {
    return this.#state.gate;
  }

  setGate(level: boolean, now: number): void {
    const state = this.#state;
    if (state.gate === level) {
      return;
    }
    const { mode } = state;
    if (mode === 1 || mode === 5) {
      // A rising gate triggers the one-shot.
      if (level && state.count !== 0) {
        state.counting = true;
        state.start = BigInt(now);
      }
    } else if (mode === 2 || mode === 3) {
      // A rising gate reloads the counter.
      if (level) {
        state.start = BigInt(now);
      } else {
        state.stoppedAt = this.#value(now);
      }
    } else if (level) {
      // The counting goes on where it stood.
      state.start = BigInt(now - this.#elapsedAt(state.stoppedAt));
    } else {
      state.stoppedAt = this.#value(now);
    }
    state.gate = level;
  }

  /** A control word for this counter: mode, access and coding. The output takes the mode's initial level. */
  writeControl(value: number): void {
    const mode = (value >> 1) & 7;
    const state = this.#state;
    state.access = (value >> 4) & 3;
    // Modes 6 and 7 are 2 and 3: bit 2 is ignored when bit 1 is set.
    state.mode = mode > 5 ? mode - 4 : mode;
    state.binaryCodedDecimal = (value & 1) !== 0;
    state.count = 0;
    state.counting = false;
    state.stoppedAt = 0;
    state.writeHigh = false;
    state.readHigh = false;
    state.countLatched = false;
    state.statusLatched = false;
  }

  latchCount(now: number): void {
    const state = this.#state;
    if (!state.countLatched) {
      state.countLatched = true;
      state.latchedCount = this.#reading(now);
    }
  }

  latchStatus(now: number): void {
    const state = this.#state;
    if (!state.statusLatched) {
      state.statusLatched = true;
      state.latchedStatus =
        (this.output(now) ? status.output : 0) |
        (state.counting ? 0 : status.nullCount) |
        (state.access << 4) |
        (state.mode << 1) |
        (state.binaryCodedDecimal ? 1 : 0);
    }
  }

  read(now: number): number {
    const state = this.#state;
    if (state.statusLatched) {
      state.statusLatched = false;
      return state.latchedStatus;
    }
    const value = state.countLatched ? state.latchedCount : this.#reading(now);
    const high = state.access === access.high || (state.access === access.lowThenHigh && state.readHigh);
    if (state.access === access.lowThenHigh) {
      state.readHigh = !state.readHigh;
    }
    if (state.access !== access.lowThenHigh || high) {
      state.countLatched = false;
    }
    return high ? value >> 8 : value & 0xff;
  }

  /** Returns whether a count is complete, so that the output's future has changed. */
  write(value: number, now: number): boolean {
    const state = this.#state;
    if (state.access === access.lowThenHigh && !state.writeHigh) {
      state.lowByte = value;
      state.writeHigh = true;
      // In mode 0 the first byte stops the counting.
      if (state.mode === 0) state.counting = false;
      return state.mode === 0;
    }
    const raw =
      state.access === access.low ? value : state.access === access.high ? value << 8 : (value << 8) | state.lowByte;
    state.writeHigh = false;
    this.#load(raw, now);
    return true;
  }

  /** Level of the output. */
  output(now: number): boolean {
    const { mode, counting, count, gate } = this.#state;
    if (!counting) {
      return mode !== 0;
    }
    const elapsed = this.#elapsed(now);
    switch (mode) {
      case 0:
      case 1:
        return elapsed >= count;
      case 2:
        return !gate || elapsed % count !== count - 1;
      case 3:
        return !gate || elapsed % count < Math.ceil(count / 2);
      default:
        return elapsed !== count;
    }
  }

  /** The first tick after `now` at which the output rises, or undefined if it does not by itself. */
  nextRise(now: number): number | undefined {
    const { mode, counting, count, gate, start } = this.#state;
    if (!counting || (!gate && mode !== 1 && mode !== 5)) {
      return undefined;
    }
    const begin = Number(start);
    if (mode === 2 || mode === 3) {
      return begin + (Math.floor((now - begin) / count) + 1) * count;
    }
    // Modes 4 and 5 give a low pulse of one tick at the end of the count.
    const rise = begin + count + (mode < 2 ? 0 : 1);
    return rise > now ? rise : undefined;
  }

  save(): CounterState {
    return { ...this.#state };
  }

  /** Why a state is impossible, or undefined if it is not. */
  static problem(state: CounterState): string | undefined {
    if (state.mode > 5) return `counter mode ${state.mode}`;
    if (state.access < access.low || state.access > access.lowThenHigh) return `counter access ${state.access}`;
    if (state.count > (state.binaryCodedDecimal ? 10_000 : 0x1_0000)) return `count ${state.count}`;
    if (state.counting && state.count === 0) return "it counts without a count";
    if (state.stoppedAt > 0x1_0000) return `count ${state.stoppedAt} where it stopped`;
    return state.start > BigInt(Number.MAX_SAFE_INTEGER) ? "a start that is out of range" : undefined;
  }

  restore(state: CounterState): void {
    this.#state = { ...state };
  }

  #powerOn(): CounterState {
    return {
      mode: 0,
      binaryCodedDecimal: false,
      access: access.lowThenHigh,
      count: 0,
      // NOTE: the data sheet leaves the state after power-on undefined; it does not count until it is programmed.
      counting: false,
      start: 0n,
      gate: this.#powerOnGate,
      stoppedAt: 0,
      writeHigh: false,
      lowByte: 0,
      readHigh: false,
      countLatched: false,
      latchedCount: 0,
      statusLatched: false,
      latchedStatus: 0,
    };
  }

  #load(raw: number, now: number): void {
    const state = this.#state;
    const count = state.binaryCodedDecimal ? fromDecimal(raw) : raw;
    const limit = state.binaryCodedDecimal ? 10_000 : 0x1_0000;
    const first = !state.counting;
    const { mode } = state;
    if ((mode === 2 || mode === 3) && !first && state.gate) {
      // The new count is taken over at the end of the present period.
      const begin = Number(state.start);
      state.start = BigInt(begin + Math.ceil((now - begin) / state.count) * state.count);
      // NOTE: until then the counter shows the new count's start; no driver looks.
    } else if (mode !== 1 && mode !== 5) {
      state.start = BigInt(now);
      state.counting = true;
      state.stoppedAt = count === 0 ? limit : count;
    }
    state.count = count === 0 ? limit : count;
  }

  #elapsed(now: number): number {
    const { gate, mode, start, stoppedAt } = this.#state;
    if (!gate && mode !== 1 && mode !== 5) {
      return this.#elapsedAt(stoppedAt);
    }
    return Math.max(0, now - Number(start));
  }

  /** Ticks that have passed when the counter shows a value. */
  #elapsedAt(value: number): number {
    return this.#state.count - value;
  }

  /** What the counting element holds. */
  #value(now: number): number {
    const { mode, count, counting, binaryCodedDecimal } = this.#state;
    if (!counting) {
      return count;
    }
    const elapsed = this.#elapsed(now);
    if (mode === 2) {
      return count - (elapsed % count);
    }
    if (mode === 3) {
      // It counts down by two in each half; an odd count's first half is one tick longer.
      const within = elapsed % count;
      const half = Math.ceil(count / 2);
      const even = count & ~1;
      return within < half ? Math.max(even - 2 * within, 0) : even - 2 * (within - half);
    }
    // After the end the counter goes on from the top.
    const modulus = binaryCodedDecimal ? 10_000 : 0x1_0000;
    return (((count - elapsed) % modulus) + modulus) % modulus;
  }

  #reading(now: number): number {
    const value = this.#value(now);
    return (this.#state.binaryCodedDecimal ? toDecimal(value) : value) & 0xffff;
  }
}

function fromDecimal(raw: number): number {
  return (raw >> 12) * 1000 + ((raw >> 8) & 0xf) * 100 + ((raw >> 4) & 0xf) * 10 + (raw & 0xf);
}

function toDecimal(value: number): number {
  const digit = (place: number): number => Math.floor(value / place) % 10;
  return (digit(1000) << 12) | (digit(100) << 8) | (digit(10) << 4) | digit(1);
}
