import {
  type CharacterDevice,
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
import {
  baseBitRate,
  fifoControl,
  interruptEnable,
  interruptIdentification,
  lineControl,
  lineStatus,
  modemControl,
  modemStatus,
  register,
  triggerLevels,
} from "./registers.ts";
import { fifoDepth, type UartState, uartState } from "./state.ts";

const powerOnDivisor = 12;
const errorBits = lineStatus.overrun | lineStatus.parity | lineStatus.framing | lineStatus.breakInterrupt;
/** The other end of the line is always there and ready. */
const connected = modemStatus.clearToSend | modemStatus.dataSetReady | modemStatus.carrierDetect;

/**
 * A 16550A UART (National Semiconductor PC16550D data sheet) between I/O ports and a character device.
 *
 * Sending takes no time: the transmitter is empty again at once, and the interrupt for it comes back with every byte
 * written; but while the other end of the character device does not keep up, the transmitter shows as full.
 * Receiving takes bytes from the character device as fast as the guest reads them, so none is ever lost to an overrun.
 */
class Uart16550 implements Device {
  readonly id: string;
  readonly checkpoint = stateCheckpoint(
    uartState,
    () => this.#save(),
    (state) => this.#restore(state),
  );

  readonly #clock: VirtualClock;
  readonly #line: InterruptLine;
  readonly #host: CharacterDevice;
  readonly #timeout: Timer;

  #divisor = powerOnDivisor;
  #interruptEnable = 0;
  #fifoControl = 0;
  #lineControl = 0;
  #modemControl = 0;
  #lineErrors = 0;
  #modemStatus = connected;
  #scratch = 0;
  #transmitterInterrupt = false;
  #characterTimeout = false;
  #received: number[] = [];
  /** While the VM is stopped, input stays with the host: a saved state must not go stale. */
  #running = false;

  constructor(context: DeviceContext) {
    const properties = new Properties(context);
    const port = properties.integer("port", 0xfff8);
    this.id = context.id;
    this.#clock = context.clock;
    this.#line = context.interrupt(properties.integer("irq", 15));
    this.#host = context.characterDevice(properties.text("characterDevice"));
    this.#timeout = context.timers.create(`${context.id}/character-timeout`, () => {
      this.#characterTimeout = this.#received.length > 0;
      this.#updateLine();
    });
    this.#host.onInput = () => this.#fill();
    this.#host.onWritable = () => this.#updateLine();
    context.bus.ports.claim(context.id, port, 8, {
      read: (offset, size) => {
        let value = 0;
        for (let index = 0; index < size; index++) {
          value += this.#read((offset + index) & 7) * 2 ** (8 * index);
        }
        return value;
      },
      write: (offset, size, value) => {
        for (let index = 0; index < size; index++) {
          this.#write((offset + index) & 7, (value >>> (8 * index)) & 0xff);
        }
      },
    });
  }

  reset(): void {
    this.#divisor = powerOnDivisor;
    this.#interruptEnable = 0;
    this.#fifoControl = 0;
    this.#lineControl = 0;
    this.#modemControl = 0;
    this.#lineErrors = 0;
    this.#modemStatus = connected;
    this.#scratch = 0;
    this.#transmitterInterrupt = false;
    this.#characterTimeout = false;
    this.#received = [];
    this.#timeout.disarm();
    this.#updateLine();
  }

  async pause(): Promise<void> {
    this.#running = false;
  }

  resume(): void {
    this.#running = true;
    this.#fill();
  }

  #read(offset: number): number {
    const latched = (this.#lineControl & lineControl.divisorLatch) !== 0;
    switch (offset) {
      case register.data:
        return latched ? this.#divisor & 0xff : this.#receive();
      case register.interruptEnable:
        return latched ? this.#divisor >> 8 : this.#interruptEnable;
      case register.interruptIdentification: {
        const identification = this.#identification();
        if (identification === interruptIdentification.transmitterEmpty) {
          // Only a read that reports this very interrupt clears it.
          this.#transmitterInterrupt = false;
          this.#updateLine();
        }
        return identification | (this.#fifosEnabled() ? interruptIdentification.fifosEnabled : 0);
      }
      case register.lineControl:
        return this.#lineControl;
      case register.modemControl:
        return this.#modemControl;
      case register.lineStatus: {
        const status =
          (this.#transmitterEmpty() ? lineStatus.holdingRegisterEmpty | lineStatus.transmitterEmpty : 0) |
          this.#lineErrors |
          (this.#received.length > 0 ? lineStatus.dataReady : 0);
        if (this.#lineErrors !== 0) {
          this.#lineErrors = 0;
          this.#updateLine();
        }
        return status;
      }
      case register.modemStatus: {
        const status = this.#modemStatus;
        if ((status & modemStatus.changes) !== 0) {
          this.#modemStatus &= ~modemStatus.changes;
          this.#updateLine();
        }
        return status;
      }
      default:
        return this.#scratch;
    }
  }

  #write(offset: number, value: number): void {
    const latched = (this.#lineControl & lineControl.divisorLatch) !== 0;
    switch (offset) {
      case register.data:
        if (latched) {
          this.#divisor = (this.#divisor & 0xff00) | value;
        } else {
          this.#send(value);
        }
        break;
      case register.interruptEnable:
        if (latched) {
          this.#divisor = (this.#divisor & 0xff) | (value << 8);
        } else {
          this.#writeInterruptEnable(value & 0x0f);
        }
        break;
      case register.interruptIdentification:
        this.#writeFifoControl(value);
        break;
      case register.lineControl:
        this.#lineControl = value;
        break;
      case register.modemControl:
        this.#modemControl = value & 0x1f;
        this.#updateModemStatus();
        this.#updateLine();
        // Leaving loopback lets the host's bytes in again.
        this.#fill();
        break;
      case register.scratch:
        this.#scratch = value;
        break;
      default:
        // Writing the status registers is for factory tests; the PC's UARTs ignore it.
        break;
    }
  }

  #writeInterruptEnable(value: number): void {
    const risen = value & ~this.#interruptEnable;
    this.#interruptEnable = value;
    // NOTE: enabling the interrupt while the transmitter is empty raises it; Linux probes for UARTs that do not.
    if ((risen & interruptEnable.transmitterEmpty) !== 0) {
      this.#transmitterInterrupt = true;
    }
    this.#updateLine();
  }

  #writeFifoControl(value: number): void {
    const toggled = ((value ^ this.#fifoControl) & fifoControl.enable) !== 0;
    if (toggled || (value & fifoControl.resetReceiver) !== 0) {
      this.#received = [];
      this.#characterTimeout = false;
      this.#timeout.disarm();
    }
    // With the FIFO enable bit clear, the other bits are not programmed.
    this.#fifoControl = (value & fifoControl.enable) === 0 ? 0 : value & (0xc0 | fifoControl.enable);
    this.#updateLine();
    this.#fill();
  }

  #send(value: number): void {
    if ((this.#modemControl & modemControl.loopback) !== 0) {
      this.#accept(value);
    } else {
      this.#host.write(Uint8Array.of(value));
    }
    // The byte has left already, so the holding register has become empty once more: the line falls and rises.
    if (this.#transmitterInterrupt) {
      this.#transmitterInterrupt = false;
      this.#updateLine();
    }
    this.#transmitterInterrupt = true;
    this.#updateLine();
  }

  #receive(): number {
    const value = this.#received.shift() ?? 0;
    this.#characterTimeout = false;
    this.#armTimeout();
    this.#updateLine();
    this.#fill();
    return value;
  }

  /** Takes bytes from the host while there is room. */
  #fill(): void {
    if (!this.#running || (this.#modemControl & modemControl.loopback) !== 0) {
      return;
    }
    const depth = this.#fifosEnabled() ? fifoDepth : 1;
    const bytes = this.#host.read(depth - this.#received.length);
    if (bytes.length > 0) {
      this.#received.push(...bytes);
      this.#characterTimeout = false;
      this.#armTimeout();
      this.#updateLine();
    }
  }

  /** Takes a byte that the UART sent to itself. */
  #accept(byte: number): void {
    if (!this.#fifosEnabled()) {
      if (this.#received.length > 0) {
        this.#lineErrors |= lineStatus.overrun;
      }
      this.#received = [byte];
    } else if (this.#received.length < fifoDepth) {
      this.#received.push(byte);
    } else {
      this.#lineErrors |= lineStatus.overrun;
    }
    this.#characterTimeout = false;
    this.#armTimeout();
  }

  #armTimeout(): void {
    if (this.#received.length === 0 || !this.#fifosEnabled()) {
      this.#timeout.disarm();
      return;
    }
    const wordBits = 5 + (this.#lineControl & lineControl.wordLength);
    const stopBits = (this.#lineControl & lineControl.stopBits) === 0 ? 1 : 2;
    const parityBits = (this.#lineControl & lineControl.parity) === 0 ? 0 : 1;
    const characterBits = 1 + wordBits + parityBits + stopBits;
    // A divisor of 0 divides by 65536.
    const bitTime = (1e9 * (this.#divisor || 0x1_0000)) / baseBitRate;
    this.#timeout.arm(this.#clock.now() + Math.ceil(4 * characterBits * bitTime));
  }

  #transmitterEmpty(): boolean {
    return this.#host.writable || (this.#modemControl & modemControl.loopback) !== 0;
  }

  #fifosEnabled(): boolean {
    return (this.#fifoControl & fifoControl.enable) !== 0;
  }

  #updateModemStatus(): void {
    const control = this.#modemControl;
    const inputs =
      (control & modemControl.loopback) === 0
        ? connected
        : ((control & modemControl.requestToSend) === 0 ? 0 : modemStatus.clearToSend) |
          ((control & modemControl.dataTerminalReady) === 0 ? 0 : modemStatus.dataSetReady) |
          ((control & modemControl.out1) === 0 ? 0 : modemStatus.ringIndicator) |
          ((control & modemControl.out2) === 0 ? 0 : modemStatus.carrierDetect);
    const before = this.#modemStatus;
    const changed = (inputs ^ before) & 0xf0;
    // Bits 3:0 tell of changes of bits 7:4, except that the ring indicator counts only when it goes away.
    let changes = (changed >> 4) & ~modemStatus.ringTrailingEdge;
    if ((changed & before & modemStatus.ringIndicator) !== 0) {
      changes |= modemStatus.ringTrailingEdge;
    }
    this.#modemStatus = inputs | (before & modemStatus.changes) | changes;
  }

  #identification(): number {
    const enabled = this.#interruptEnable;
    if ((enabled & interruptEnable.lineStatus) !== 0 && this.#lineErrors !== 0) {
      return interruptIdentification.lineStatus;
    }
    if ((enabled & interruptEnable.received) !== 0) {
      const trigger = this.#fifosEnabled() ? (triggerLevels[this.#fifoControl >> fifoControl.triggerShift] ?? 1) : 1;
      if (this.#received.length >= trigger) {
        return interruptIdentification.received;
      }
      if (this.#characterTimeout) {
        return interruptIdentification.characterTimeout;
      }
    }
    const sends = (enabled & interruptEnable.transmitterEmpty) !== 0 && this.#transmitterInterrupt;
    if (sends && this.#transmitterEmpty()) {
      return interruptIdentification.transmitterEmpty;
    }
    if ((enabled & interruptEnable.modemStatus) !== 0 && (this.#modemStatus & modemStatus.changes) !== 0) {
      return interruptIdentification.modemStatus;
    }
    return interruptIdentification.none;
  }

  #updateLine(): void {
    // On the PC, OUT2 gates the interrupt; in loopback the pin is held inactive.
    const gate = this.#modemControl & (modemControl.out2 | modemControl.loopback);
    this.#line.set(gate === modemControl.out2 && this.#identification() !== interruptIdentification.none);
  }

  #save(): UartState {
    const receiveFifo = new Uint8Array(fifoDepth);
    receiveFifo.set(this.#received);
    return {
      divisor: this.#divisor,
      interruptEnable: this.#interruptEnable,
      fifoControl: this.#fifoControl,
      lineControl: this.#lineControl,
      modemControl: this.#modemControl,
      lineErrors: this.#lineErrors,
      modemStatus: this.#modemStatus,
      scratch: this.#scratch,
      transmitterInterrupt: this.#transmitterInterrupt,
      characterTimeout: this.#characterTimeout,
      characterTimeoutDeadline: saveDeadline(this.#timeout),
      receiveFifo,
      receiveCount: this.#received.length,
    };
  }

  #restore(state: UartState): void {
    const depth = (state.fifoControl & fifoControl.enable) === 0 ? 1 : fifoDepth;
    const reason =
      state.receiveCount > depth
        ? `${state.receiveCount} received bytes where ${depth} fit`
        : (state.interruptEnable & ~0x0f) !== 0 ||
            (state.modemControl & ~0x1f) !== 0 ||
            (state.lineErrors & ~errorBits) !== 0
          ? "reserved register bits are set"
          : isDeadline(state.characterTimeoutDeadline)
            ? undefined
            : "a deadline is out of range";
    if (reason !== undefined) {
      throw deviceErrors.ERR_CPR_DEVICE_STATE({ device: this.id, reason });
    }
    this.#divisor = state.divisor;
    this.#interruptEnable = state.interruptEnable;
    this.#fifoControl = state.fifoControl;
    this.#lineControl = state.lineControl;
    this.#modemControl = state.modemControl;
    this.#lineErrors = state.lineErrors;
    this.#modemStatus = state.modemStatus;
    this.#scratch = state.scratch;
    this.#transmitterInterrupt = state.transmitterInterrupt;
    this.#characterTimeout = state.characterTimeout;
    this.#received = [...state.receiveFifo.subarray(0, state.receiveCount)];
    restoreDeadline(this.#timeout, state.characterTimeoutDeadline);
    this.#updateLine();
  }
}

/** Makes 16550A UARTs. Properties: `port`, `irq`, `characterDevice`. */
export class Uart16550Model implements DeviceModel {
  readonly name = "uart-16550";

  create(context: DeviceContext): Device {
    return new Uart16550(context);
  }
}
