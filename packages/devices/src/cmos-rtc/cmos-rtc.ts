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
import { decodeField, decodeHours, readTime, writeTime } from "./calendar.ts";
import {
  alarmAny,
  memorySize,
  ports,
  register,
  registerA,
  registerB,
  registerC,
  timeBaseFrequency,
  updateWarning,
  validTime,
} from "./registers.ts";
import { type RtcState, rtcState } from "./state.ts";

const second = 1_000_000_000n;
const secondsOfDay = 86_400;
/** Indexes that the running clock writes. */
const timeRegisters = new Set<number>([
  register.seconds,
  register.minutes,
  register.hours,
  register.dayOfWeek,
  register.dayOfMonth,
  register.month,
  register.year,
  register.century,
]);
/** Times that a Date can hold, in seconds. */
const latestTime = 8_640_000_000_000n;

/**
 * The PC's battery-backed clock and 128 bytes of memory (Motorola MC146818A data sheet), with alarm, update and
 * periodic interrupts on IRQ 8. It keeps UTC and follows the host's wall clock, also while the VM stands still.
 */
class CmosRtc implements Device {
  readonly id: string;
  readonly checkpoint = stateCheckpoint(
    rtcState,
    () => this.#save(),
    (state) => this.#restore(state),
  );

  readonly #clock: VirtualClock;
  readonly #line: InterruptLine;
  readonly #secondTimer: Timer;
  readonly #periodicTimer: Timer;
  readonly #timeBase = new TickRate(timeBaseFrequency);
  readonly #memory = new Uint8Array(memorySize);
  #index = 0;
  #offset = 0;
  #checked = 0;

  constructor(context: DeviceContext) {
    this.id = context.id;
    this.#clock = context.clock;
    this.#line = context.interrupt(new Properties(context).integer("irq", 15, 8));
    this.#secondTimer = context.timers.create(`${context.id}/second`, () => this.#secondPassed());
    this.#periodicTimer = context.timers.create(`${context.id}/periodic`, () => this.#periodPassed());
    context.bus.ports.claim(context.id, ports.base, 2, {
      // The index cannot be read back.
      read: (offset) => (offset === ports.data ? this.#read(this.#index) : 0xff),
      write: (offset, size, value) => {
        if (offset === ports.index) this.#index = value & 0x7f;
        if (offset === ports.data) this.#write(this.#index, value & 0xff);
        if (offset === ports.index && size > 1) this.#write(this.#index, (value >> 8) & 0xff);
      },
    });
    this.#powerOn();
  }

  /** The battery keeps the time and the memory; interrupts are disabled (MC146818A data sheet, RESET). */
  reset(): void {
    this.#index = 0;
    this.#set(register.b, this.#get(register.b) & ~(registerC.flags | registerB.set));
    this.#set(register.c, 0);
    this.#checked = this.#now();
    this.#secondTimer.disarm();
    this.#periodicTimer.disarm();
    this.#line.set(false);
  }

  #powerOn(): void {
    this.#set(register.a, registerA.dividerNormal | 0x06);
    this.#set(register.b, registerB.twentyFourHours);
    this.reset();
  }

  #get(index: number): number {
    return this.#memory[index] ?? 0;
  }

  #set(index: number, value: number): void {
    this.#memory[index] = value;
  }

  /** The guest's time in seconds since 1970. */
  #now(): number {
    return Number(this.#clock.wallClock() / second) + this.#offset;
  }

  #running(): boolean {
    return (
      (this.#get(register.b) & registerB.set) === 0 &&
      (this.#get(register.a) & registerA.divider) === registerA.dividerNormal
    );
  }

  #read(index: number): number {
    if (timeRegisters.has(index)) {
      if (this.#running()) writeTime(this.#memory, this.#now(), this.#get(register.b));
      return this.#get(index);
    }
    switch (index) {
      case register.a:
        return this.#get(register.a) | (this.#updating() ? registerA.updateInProgress : 0);
      case register.c: {
        this.#catchUp();
        const flags = this.#get(register.c);
        this.#set(register.c, 0);
        this.#line.set(false);
        return flags;
      }
      case register.d:
        return validTime;
      default:
        return this.#get(index);
    }
  }

  #write(index: number, value: number): void {
    if (timeRegisters.has(index)) {
      if (this.#running()) {
        const coding = this.#get(register.b);
        writeTime(this.#memory, this.#now(), coding);
        this.#set(index, value);
        this.#setTime(readTime(this.#memory, coding));
      } else {
        this.#set(index, value);
      }
      return;
    }
    switch (index) {
      case register.a:
        this.#whileSwitching(() => this.#set(register.a, value & ~registerA.updateInProgress));
        this.#startPeriod();
        break;
      case register.b:
        this.#catchUp();
        // Setting SET also clears the update-ended interrupt enable.
        this.#whileSwitching(() =>
          this.#set(register.b, (value & registerB.set) === 0 ? value : value & ~registerB.updateInterrupt),
        );
        this.#startPeriod();
        this.#updateLine();
        break;
      case register.c:
      case register.d:
        break;
      default:
        this.#set(index, value);
        break;
    }
    this.#armSecond();
  }

  /** Makes a change that may stop the clock or let it run: the registers then hold the time, or the time follows them. */
  #whileSwitching(change: () => void): void {
    const wasRunning = this.#running();
    if (wasRunning) {
      writeTime(this.#memory, this.#now(), this.#get(register.b));
    }
    change();
    if (!wasRunning && this.#running()) {
      this.#setTime(readTime(this.#memory, this.#get(register.b)));
    }
  }

  #setTime(seconds: number): void {
    this.#offset += seconds - this.#now();
    this.#checked = seconds;
  }

  /** Whether the second changes within the next 244 µs. */
  #updating(): boolean {
    return this.#running() && second - (this.#clock.wallClock() % second) <= BigInt(updateWarning);
  }

  /** Sets the flags for the seconds that have passed since the last look. */
  #catchUp(): void {
    if (!this.#running()) {
      return;
    }
    const now = this.#now();
    if (now > this.#checked) {
      let flags = registerC.update as number;
      const alarm = this.#nextAlarm(this.#checked);
      if (alarm !== undefined && alarm <= now) {
        flags |= registerC.alarm;
      }
      this.#set(register.c, this.#get(register.c) | flags);
    }
    this.#checked = now;
  }

  /** The first second after `seconds` at which the alarm matches, or undefined if it never does. */
  #nextAlarm(seconds: number): number | undefined {
    const coding = this.#get(register.b);
    const any = (value: number): boolean => (value & alarmAny) === alarmAny;
    const alarmHours = this.#get(register.hoursAlarm);
    const alarmMinutes = this.#get(register.minutesAlarm);
    const alarmSeconds = this.#get(register.secondsAlarm);
    for (let at = seconds + 1; at <= seconds + secondsOfDay; at++) {
      const ofDay = ((at % secondsOfDay) + secondsOfDay) % secondsOfDay;
      if (
        (any(alarmSeconds) || decodeField(alarmSeconds, coding) === ofDay % 60) &&
        (any(alarmMinutes) || decodeField(alarmMinutes, coding) === Math.floor(ofDay / 60) % 60) &&
        (any(alarmHours) || decodeHours(alarmHours, coding) === Math.floor(ofDay / 3600))
      ) {
        return at;
      }
    }
    return undefined;
  }

  /** Arms the timer for the next second or alarm whose interrupt is enabled. */
  #armSecond(): void {
    const enabled = this.#get(register.b);
    const next = !this.#running()
      ? undefined
      : (enabled & registerB.updateInterrupt) !== 0
        ? this.#checked + 1
        : (enabled & registerB.alarmInterrupt) !== 0
          ? this.#nextAlarm(this.#checked)
          : undefined;
    if (next === undefined) {
      this.#secondTimer.disarm();
      return;
    }
    const wall = BigInt(next - this.#offset) * second;
    this.#secondTimer.arm(this.#clock.now() + Math.max(0, Number(wall - this.#clock.wallClock())));
  }

  #secondPassed(): void {
    this.#catchUp();
    this.#updateLine();
    this.#armSecond();
  }

  /** Period of the periodic interrupt in ticks of the time base, or undefined if there is none. */
  #period(): number | undefined {
    const rate = this.#get(register.a) & registerA.rate;
    if (rate === 0 || (this.#get(register.a) & registerA.divider) !== registerA.dividerNormal) {
      return undefined;
    }
    // With the 32.768 kHz time base, rates 1 and 2 are those of 8 and 9.
    return 2 ** ((rate <= 2 ? rate + 7 : rate) - 1);
  }

  #startPeriod(): void {
    if ((this.#get(register.b) & registerB.periodicInterrupt) === 0) {
      this.#periodicTimer.disarm();
    } else if (this.#periodicTimer.deadline === undefined) {
      this.#armPeriod();
    }
  }

  /** The divider chain runs on, so that periods end at whole multiples of themselves. */
  #armPeriod(): void {
    const period = this.#period();
    if (period === undefined) {
      this.#periodicTimer.disarm();
    } else {
      const passed = Math.floor(this.#timeBase.ticksAt(this.#clock.now()) / period);
      this.#periodicTimer.arm(this.#timeBase.timeOf((passed + 1) * period));
    }
  }

  #periodPassed(): void {
    this.#set(register.c, this.#get(register.c) | registerC.periodic);
    this.#updateLine();
    this.#armPeriod();
  }

  #updateLine(): void {
    const flags = this.#get(register.c) & registerC.flags;
    const interrupt = (flags & this.#get(register.b)) !== 0;
    this.#set(register.c, flags | (interrupt ? registerC.interrupt : 0));
    this.#line.set(interrupt);
  }

  /** The host's wall clock may have gone on without the virtual clock. */
  resume(): void {
    this.#armSecond();
  }

  #save(): RtcState {
    return {
      memory: this.#memory.slice(),
      index: this.#index,
      offset: BigInt(this.#offset),
      checked: BigInt(this.#checked),
      periodicDeadline: saveDeadline(this.#periodicTimer),
    };
  }

  #restore(state: RtcState): void {
    const outside = (value: bigint): boolean => value < -latestTime || value > latestTime;
    const reason =
      state.index >= memorySize
        ? `index ${state.index}`
        : outside(state.offset) || outside(state.checked)
          ? "a time that no calendar has"
          : isDeadline(state.periodicDeadline)
            ? undefined
            : "a deadline is out of range";
    if (reason !== undefined) {
      throw deviceErrors.ERR_CPR_DEVICE_STATE({ device: this.id, reason });
    }
    this.#memory.set(state.memory);
    this.#index = state.index;
    this.#offset = Number(state.offset);
    this.#checked = Number(state.checked);
    restoreDeadline(this.#periodicTimer, state.periodicDeadline);
    this.#armSecond();
    this.#line.set((this.#get(register.c) & registerC.interrupt) !== 0);
  }
}

/** Makes the clock. Property: `irq`, 8 by default. */
export class CmosRtcModel implements DeviceModel {
  readonly name = "cmos-rtc";

  create(context: DeviceContext): Device {
    return new CmosRtc(context);
  }
}
