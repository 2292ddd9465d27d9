import { array, bool, bytes, CprError, type Device, type DeviceContext, defineState, u8, u64 } from "@cpr/core";

/** The state of a {@link Ticker}. */
export const tickerState = defineState(
  "ticker",
  2,
  {
    period: u64,
    deadline: u64,
    armed: bool,
    ticks: u8,
    line: bool,
    received: bytes(4),
    receivedCount: u8,
    latches: array(u8, 2),
  },
  {
    1: {
      fields: { period: u64, deadline: u64, armed: bool, ticks: u8, line: bool },
      upgrade: (state) => ({ ...state, received: new Uint8Array(4), receivedCount: 0, latches: [0, 0] }),
    },
  },
);

/**
 * A device that keeps its contract: a periodic timer, an interrupt line, a character device. Port 0 sets the period
 * in units of 10 ms (0 stops it), port 1 tells the ticks and releases the line, port 2 gives received bytes, port 3 is
 * a latch.
 *
 * A subclass that breaks one promise shows which case of the suite notices.
 */
export class Ticker implements Device {
  readonly id: string;
  readonly context: DeviceContext;
  readonly #timer;
  readonly line;
  readonly #input;
  period = 0n;
  ticks = 0;
  latches = [0, 0];
  received = new Uint8Array(4);
  receivedCount = 0;
  #lineLevel = false;
  paused = false;

  constructor(context: DeviceContext) {
    this.id = context.id;
    this.context = context;
    this.line = context.interrupt(5);
    this.#input = context.characterDevice("ticker");
    this.#input.onInput = () => this.onInput();
    this.#timer = context.timers.create("ticker", (deadline) => this.#tick(deadline));
    context.bus.ports.claim(context.id, 0x100, 4, {
      read: (offset) => this.read(offset),
      write: (offset, _size, value) => this.write(offset, value & 0xff),
    });
  }

  readonly checkpoint = {
    kind: "state",
    schema: tickerState,
    save: () => this.save(),
    restore: (state: Readonly<Record<string, unknown>>) => this.restore(state),
  } as const;

  get timer() {
    return this.#timer;
  }

  reset(): void {
    this.period = 0n;
    this.ticks = 0;
    this.latches = [0, 0];
    this.received.fill(0);
    this.receivedCount = 0;
    this.#timer.disarm();
    this.setLine(false);
  }

  async pause(): Promise<void> {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.onInput();
  }

  setLine(level: boolean): void {
    this.#lineLevel = level;
    this.line.set(level);
  }

  onInput(): void {
    while (!this.paused && this.receivedCount < 4) {
      const [byte] = this.#input.read(1);
      if (byte === undefined) {
        return;
      }
      this.received[this.receivedCount++] = byte;
    }
  }

  read(offset: number): number {
    switch (offset) {
      case 1:
        this.setLine(false);
        return this.ticks;
      case 2:
        return this.receivedCount === 0 ? 0 : (this.received[--this.receivedCount] as number);
      case 3:
        return this.latches[0] as number;
      default:
        return Number(this.period / 10_000_000n) & 0xff;
    }
  }

  write(offset: number, value: number): void {
    if (offset === 0) {
      this.period = BigInt(value) * 10_000_000n;
      if (value === 0) {
        this.#timer.disarm();
      } else {
        this.#timer.arm(this.context.clock.now() + Number(this.period));
      }
    } else if (offset === 3) {
      this.latches = [value, this.latches[0] as number];
    }
  }

  save(): Readonly<Record<string, unknown>> {
    return {
      period: this.period,
      deadline: BigInt(this.#timer.deadline ?? 0),
      armed: this.#timer.deadline !== undefined,
      ticks: this.ticks,
      line: this.#lineLevel,
      received: this.received.slice(),
      receivedCount: this.receivedCount,
      latches: [...this.latches],
    };
  }

  restore(state: Readonly<Record<string, unknown>>): void {
    this.check(state);
    this.apply(state);
  }

  check(state: Readonly<Record<string, unknown>>): void {
    const { period, deadline, armed, receivedCount } = state;
    const limit = 10_000_000_000n;
    const problem =
      (period as bigint) > limit || (armed && (period as bigint) < 10_000_000n)
        ? "period"
        : armed !== (period as bigint) > 0n || (deadline as bigint) > limit
          ? "deadline"
          : (receivedCount as number) > 4
            ? "receivedCount"
            : undefined;
    if (problem !== undefined) {
      throw new CprError("ERR_CPR_TICKER_STATE", "checkpoint", `ticker: '${problem}' is impossible`);
    }
  }

  apply(state: Readonly<Record<string, unknown>>): void {
    this.period = state.period as bigint;
    this.ticks = state.ticks as number;
    this.latches = [...(state.latches as number[])];
    this.received = (state.received as Uint8Array).slice();
    this.receivedCount = state.receivedCount as number;
    this.setLine(state.line as boolean);
    if (state.armed === true) {
      this.#timer.arm(Number(state.deadline));
    } else {
      this.#timer.disarm();
    }
  }

  #tick(deadline: number): void {
    this.ticks = (this.ticks + 1) & 0xff;
    this.setLine(true);
    this.#timer.arm(deadline + Number(this.period));
  }
}
