import type {
  BusHandler,
  Device,
  DeviceContext,
  DeviceModel,
  GeneralEvents,
  InterruptLine,
  MachineRequest,
  PowerButton,
  SleepControl,
  SleepDepth,
  Timer,
  VirtualClock,
} from "@cpr/core";
import { deviceErrors } from "../errors.ts";
import { Properties } from "../properties.ts";
import { stateCheckpoint } from "../state-checkpoint.ts";
import { TickRate } from "../tick-rate.ts";
import { blockSize, control, event, offset, sleepType, timerFrequency, timerHalf } from "./registers.ts";
import { type AcpiPowerState, acpiPowerState } from "./state.ts";

const events = event.timer | event.globalLock | event.powerButton | event.sleepButton | event.clock;

/**
 * The ACPI fixed hardware (ACPI 6.5 §4.8): PM1a event and control blocks, the power management timer, GPE block 0
 * with events for other devices, the power button. There is no legacy mode, so SCI_EN is always set. Which sleep it was stands in the control register.
 */
class AcpiPower implements Device, GeneralEvents, PowerButton, SleepControl {
  readonly id: string;
  readonly checkpoint = stateCheckpoint(
    acpiPowerState,
    () => this.#save(),
    (state) => this.#restore(state),
  );

  readonly #clock: VirtualClock;
  readonly #line: InterruptLine;
  readonly #timer: Timer;
  readonly #request: (request: MachineRequest) => void;
  readonly #rate = new TickRate(timerFrequency);
  #status = 0;
  #enable = 0;
  #control: number = control.sciEnabled;
  #generalStatus = 0;
  #generalEnable = 0;
  #timerChange = 0;

  constructor(context: DeviceContext) {
    const properties = new Properties(context);
    const port = properties.integer("port", 0xff00);
    this.id = context.id;
    this.#clock = context.clock;
    this.#line = context.interrupt(properties.integer("irq", 23, 9));
    this.#request = (request) => context.request(request);
    this.#timer = context.timers.create(`${context.id}/timer`, () => this.#timerPassed());
    context.bus.ports.claim(context.id, port, blockSize.power, this.#words(0));
    context.bus.ports.claim(
      `${context.id}/gpe0`,
      port + offset.generalStatus,
      blockSize.general,
      this.#words(offset.generalStatus),
    );
    this.reset();
  }

  reset(): void {
    this.#status = 0;
    this.#enable = 0;
    this.#control = control.sciEnabled;
    this.#generalStatus = 0;
    this.#generalEnable = 0;
    this.#timerChange = this.#nextChange();
    this.#timer.disarm();
    this.#updateLine();
  }

  pressPowerButton(): void {
    this.#status |= event.powerButton;
    this.#updateLine();
  }

  /** Accesses of any width as reads of 16-bit registers and as byte-wise writes to them. */
  #words(base: number): BusHandler {
    const byteAt = (at: number): number => (this.#read(base + (at & ~1)) >> (8 * (at & 1))) & 0xff;
    return {
      read: (at, size) => {
        // One read of the timer is one moment.
        if (base + at === offset.timer && size === 4) return this.#count();
        let value = 0;
        for (let index = 0; index < size; index++) {
          value += byteAt(at + index) * 2 ** (8 * index);
        }
        return value;
      },
      write: (at, size, value) => {
        if (size === 1) {
          const other = (at & 1) === 0 ? 8 : 0;
          this.#write(base + (at & ~1), (value & 0xff) << (8 - other), 0xff << (8 - other));
        } else {
          this.#write(base + at, value & 0xffff, 0xffff);
          if (size === 4) this.#write(base + at + 2, value >>> 16, 0xffff);
        }
      },
    };
  }

  #read(at: number): number {
    switch (at) {
      case offset.status:
        this.#noticeTimer();
        return this.#status;
      case offset.enable:
        return this.#enable;
      case offset.control:
        return this.#control;
      case offset.timer:
        return this.#count() & 0xffff;
      case offset.timer + 2:
        return this.#count() >>> 16;
      case offset.generalStatus:
        return this.#generalStatus;
      case offset.generalEnable:
        return this.#generalEnable;
      default:
        return 0;
    }
  }

  /** @param written bits that the access covers */
  #write(at: number, value: number, written: number): void {
    const merge = (old: number): number => (old & ~written) | (value & written);
    switch (at) {
      case offset.status:
        this.#noticeTimer();
        this.#status &= ~value;
        break;
      case offset.enable:
        this.#enable = merge(this.#enable) & events;
        this.#armTimer();
        break;
      case offset.control: {
        const merged = merge(this.#control);
        this.#control = (merged & control.writable) | control.sciEnabled;
        if ((merged & written & control.sleepEnable) !== 0) this.#sleep();
        break;
      }
      case offset.generalStatus:
        this.#generalStatus &= ~value;
        break;
      case offset.generalEnable:
        this.#generalEnable = merge(this.#generalEnable);
        break;
      default:
        break;
    }
    this.#updateLine();
  }

  raiseGeneralEvent(number: number): void {
    this.#generalStatus |= 1 << number;
    this.#updateLine();
  }

  get sleepDepth(): SleepDepth {
    return this.#sleepType() === sleepType.memory ? "memory" : "standby";
  }

  noteWake(): void {
    this.#status |= event.wake;
  }

  #sleepType(): number {
    return (this.#control & control.sleepType) >> control.sleepTypeShift;
  }

  #sleep(): void {
    const type = this.#sleepType();
    // Sleep types that the DSDT does not name have no effect.
    if (type === sleepType.softOff) {
      this.#request("shutdown");
    } else if (type === sleepType.standby) {
      // It sees nothing before it wakes, and a standby ends without anything being done.
      this.noteWake();
      this.#request("suspend");
    } else if (type === sleepType.memory) {
      this.#request("suspend");
    }
  }

  #ticks(): number {
    return this.#rate.ticksAt(this.#clock.now());
  }

  #count(): number {
    return this.#ticks() % (2 * timerHalf);
  }

  #nextChange(): number {
    return (Math.floor(this.#ticks() / timerHalf) + 1) * timerHalf;
  }

  /** Sets the timer's status if its highest bit has changed since the last look. */
  #noticeTimer(): void {
    if (this.#ticks() >= this.#timerChange) {
      this.#status |= event.timer;
      this.#timerChange = this.#nextChange();
    }
  }

  #armTimer(): void {
    if ((this.#enable & event.timer) === 0) {
      this.#timer.disarm();
    } else {
      this.#timer.arm(this.#rate.timeOf(this.#timerChange));
    }
  }

  #timerPassed(): void {
    this.#noticeTimer();
    this.#armTimer();
    this.#updateLine();
  }

  #updateLine(): void {
    this.#line.set((this.#status & this.#enable) !== 0 || (this.#generalStatus & this.#generalEnable) !== 0);
  }

  #save(): AcpiPowerState {
    return {
      status: this.#status,
      enable: this.#enable,
      control: this.#control,
      generalStatus: this.#generalStatus,
      generalEnable: this.#generalEnable,
      timerChange: BigInt(this.#timerChange),
    };
  }

  #restore(state: AcpiPowerState): void {
    const reason =
      (state.status & ~(events | event.wake)) !== 0 ||
      (state.enable & ~events) !== 0 ||
      (state.control & ~control.writable) !== 0
        ? "reserved register bits are set"
        : (state.control & control.sciEnabled) === 0
          ? "SCI_EN is clear"
          : state.timerChange > BigInt(Number.MAX_SAFE_INTEGER)
            ? "a time that is out of range"
            : undefined;
    if (reason !== undefined) {
      throw deviceErrors.ERR_CPR_DEVICE_STATE({ device: this.id, reason });
    }
    this.#status = state.status;
    this.#enable = state.enable;
    this.#control = state.control;
    this.#generalStatus = state.generalStatus;
    this.#generalEnable = state.generalEnable;
    this.#timerChange = Number(state.timerChange);
    this.#armTimer();
    this.#updateLine();
  }
}

/** Makes the ACPI fixed hardware. Properties: `port`, the base of all blocks; `irq` of the SCI, 9 by default. */
export class AcpiPowerModel implements DeviceModel {
  readonly name = "acpi-power";

  create(context: DeviceContext): Device & GeneralEvents & PowerButton & SleepControl {
    return new AcpiPower(context);
  }
}
