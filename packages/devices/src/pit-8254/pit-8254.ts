import {
  type Device,
  type DeviceContext,
  type DeviceModel,
  type InterruptLine,
  isDeadline,
  type Timer,
  type VirtualClock,
} from "@cpr/core";
import { restoreDeadline, saveDeadline } from "../deadline.ts";
import { deviceErrors } from "../errors.ts";
import { Properties } from "../properties.ts";
import { stateCheckpoint } from "../state-checkpoint.ts";
import { TickRate } from "../tick-rate.ts";
import { Counter } from "./counter.ts";
import { access, controlOffset, pitFrequency, ports, readBack, refreshPeriod, systemControl } from "./registers.ts";
import { type PitState, pitState } from "./state.ts";

/**
 * The PC's 8254 interval timer (Intel 8254 data sheet) with port 0x61: channel 0 gives IRQ 0, channel 2 is gated and
 * read through port 0x61 (the speaker makes no sound), channel 1 once refreshed memory. Counters follow the virtual
 * clock. A rising edge that comes while the interrupt is still pending is lost, as on hardware.
 */
class Pit8254 implements Device {
  readonly id: string;
  readonly checkpoint = stateCheckpoint(
    pitState,
    () => this.#save(),
    (state) => this.#restore(state),
  );

  readonly #clock: VirtualClock;
  readonly #line: InterruptLine;
  readonly #timer: Timer;
  readonly #rate = new TickRate(pitFrequency);
  readonly #counters: readonly [Counter, Counter, Counter] = [new Counter(true), new Counter(true), new Counter(false)];
  #systemControl = 0;
  #interrupt = false;

  constructor(context: DeviceContext) {
    this.id = context.id;
    this.#clock = context.clock;
    this.#line = context.interrupt(new Properties(context).integer("irq", 15, 0));
    this.#timer = context.timers.create(`${context.id}/channel-0`, (deadline) => this.#rise(deadline));
    context.bus.ports.claim(context.id, ports.counters, 4, {
      read: (offset) => (offset === controlOffset ? 0xff : this.#counter(offset).read(this.#ticks())),
      write: (offset, _size, value) => this.#write(offset, value & 0xff),
    });
    context.bus.ports.claim(`${context.id}/system-control`, ports.systemControl, 1, {
      read: () => this.#readSystemControl(),
      write: (_offset, _size, value) => {
        this.#systemControl = value & systemControl.writable;
        this.#counters[2].setGate((value & systemControl.channel2Gate) !== 0, this.#ticks());
      },
    });
  }

  reset(): void {
    for (const counter of this.#counters) {
      counter.reset();
    }
    this.#systemControl = 0;
    this.#timer.disarm();
    this.#setInterrupt(false);
  }

  #ticks(): number {
    return this.#rate.ticksAt(this.#clock.now());
  }

  #counter(index: number): Counter {
    return this.#counters[index as 0 | 1 | 2];
  }

  #write(offset: number, value: number): void {
    const now = this.#ticks();
    if (offset !== controlOffset) {
      if (this.#counter(offset).write(value, now) && offset === 0) this.#schedule(now);
      return;
    }
    const channel = value >> 6;
    if (channel === 3) {
      this.#readBack(value, now);
    } else if (((value >> 4) & 3) === access.latch) {
      this.#counter(channel).latchCount(now);
    } else {
      this.#counter(channel).writeControl(value);
      if (channel === 0) this.#schedule(now);
    }
  }

  #readBack(value: number, now: number): void {
    for (const [index, counter] of this.#counters.entries()) {
      if ((value & (2 << index)) !== 0) {
        if ((value & readBack.notCount) === 0) counter.latchCount(now);
        if ((value & readBack.notStatus) === 0) counter.latchStatus(now);
      }
    }
  }

  #readSystemControl(): number {
    const now = this.#clock.now();
    const refresh = Math.floor(now / refreshPeriod) % 2 === 0 ? 0 : systemControl.refresh;
    const output = this.#counters[2].output(this.#rate.ticksAt(now)) ? systemControl.channel2Output : 0;
    return this.#systemControl | refresh | output;
  }

  /** Channel 0 was programmed: sets the level and the time of the next rising edge. */
  #schedule(now: number): void {
    this.#setInterrupt(this.#counters[0].output(now));
    this.#arm(now);
  }

  #arm(after: number): void {
    const rise = this.#counters[0].nextRise(after);
    if (rise === undefined) {
      this.#timer.disarm();
    } else {
      this.#timer.arm(this.#rate.timeOf(rise));
    }
  }

  #rise(deadline: number): void {
    // The low phase before the edge is not played out: edge-triggered inputs see the same.
    this.#setInterrupt(false);
    this.#setInterrupt(true);
    // Edges that were missed because the host was busy are gone.
    this.#arm(Math.max(this.#rate.ticksAt(deadline), this.#ticks()));
  }

  #setInterrupt(level: boolean): void {
    this.#interrupt = level;
    this.#line.set(level);
  }

  #save(): PitState {
    return {
      counters: this.#counters.map((counter) => counter.save()),
      systemControl: this.#systemControl,
      deadline: saveDeadline(this.#timer),
      interrupt: this.#interrupt,
    };
  }

  #restore(state: PitState): void {
    const reason =
      state.counters.map((counter) => Counter.problem(counter)).find((problem) => problem !== undefined) ??
      ((state.systemControl & ~systemControl.writable) !== 0
        ? "reserved bits of port 0x61 are set"
        : isDeadline(state.deadline)
          ? undefined
          : "a deadline is out of range");
    if (reason !== undefined) {
      throw deviceErrors.ERR_CPR_DEVICE_STATE({ device: this.id, reason });
    }
    for (const [index, counter] of state.counters.entries()) {
      this.#counter(index).restore(counter);
    }
    this.#systemControl = state.systemControl;
    restoreDeadline(this.#timer, state.deadline);
    this.#setInterrupt(state.interrupt);
  }
}

/** Makes the 8254. Property: `irq`, 0 by default. */
export class Pit8254Model implements DeviceModel {
  readonly name = "pit-8254";

  create(context: DeviceContext): Device {
    return new Pit8254(context);
  }
}
