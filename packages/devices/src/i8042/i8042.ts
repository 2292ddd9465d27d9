import type { Device, DeviceContext, DeviceModel, InterruptLine, MachineRequest } from "@cpr/core";
import { deviceErrors } from "../errors.ts";
import { Properties } from "../properties.ts";
import { stateCheckpoint } from "../state-checkpoint.ts";
import { Keyboard } from "./keyboard.ts";
import {
  command,
  commandByte,
  outputPort,
  ports,
  portTestClockLow,
  portTestPassed,
  selfTestPassed,
  status,
} from "./registers.ts";
import { type I8042State, i8042State, queueCapacity } from "./state.ts";

/**
 * The PC's keyboard controller with a keyboard and without an auxiliary port (IBM PC/AT Technical Reference). It
 * answers at once, and pulsing its reset line resets the machine. Scan codes are the keyboard's own only when
 * translation is off, which matters for one answer alone: nobody types.
 */
class I8042 implements Device {
  readonly id: string;
  readonly checkpoint = stateCheckpoint(
    i8042State,
    () => this.#save(),
    (state) => this.#restore(state),
  );

  readonly #line: InterruptLine;
  readonly #request: (request: MachineRequest) => void;
  readonly #keyboard = new Keyboard();
  readonly #memory = new Uint8Array(32);
  #outputPort: number = outputPort.powerOn;
  #pendingCommand = 0;
  #lastWasCommand = false;
  #queue: number[] = [];
  #lastData = 0;

  constructor(context: DeviceContext) {
    this.id = context.id;
    this.#line = context.interrupt(new Properties(context).integer("irq", 15, 1));
    this.#request = (request) => context.request(request);
    context.bus.ports.claim(`${context.id}/data`, ports.data, 1, {
      read: () => this.#readData(),
      write: (_offset, _size, value) => this.#writeData(value & 0xff),
    });
    context.bus.ports.claim(`${context.id}/command`, ports.command, 1, {
      read: () => this.#status(),
      write: (_offset, _size, value) => this.#writeCommand(value & 0xff),
    });
    this.reset();
  }

  reset(): void {
    this.#keyboard.reset();
    this.#memory.fill(0);
    this.#commandByte = commandByte.keyboardInterrupt | commandByte.systemFlag | commandByte.translate;
    this.#outputPort = outputPort.powerOn;
    this.#pendingCommand = 0;
    this.#lastWasCommand = false;
    this.#queue = [];
    this.#lastData = 0;
    this.#updateLine();
  }

  get #commandByte(): number {
    return this.#memory[0] ?? 0;
  }

  set #commandByte(value: number) {
    this.#memory[0] = value;
  }

  #status(): number {
    return (
      status.keyboardUnlocked |
      (this.#queue.length > 0 ? status.outputFull : 0) |
      ((this.#commandByte & commandByte.systemFlag) !== 0 ? status.systemFlag : 0) |
      (this.#lastWasCommand ? status.command : 0)
    );
  }

  #readData(): number {
    const byte = this.#queue.shift();
    if (byte !== undefined) {
      this.#lastData = byte;
      // The output buffer is empty for a moment even if more waits, so the line falls and rises again.
      this.#line.set(false);
      this.#updateLine();
    }
    return this.#lastData;
  }

  #writeData(value: number): void {
    const pending = this.#pendingCommand;
    this.#pendingCommand = 0;
    this.#lastWasCommand = false;
    if (pending >= command.writeMemoryFirst && pending <= command.writeMemoryLast) {
      this.#memory[pending & 0x1f] = value;
      this.#updateLine();
      return;
    }
    switch (pending) {
      case command.writeOutputPort:
        this.#writeOutputPort(value);
        break;
      case command.writeKeyboardOutput:
      // Without an auxiliary port its loopback comes back as keyboard data, which tells a driver that it is absent.
      case command.writeAuxiliaryOutput:
        this.#answer([value]);
        break;
      case command.writeAuxiliary:
        // Nothing is there to answer.
        break;
      default:
        // Writing to the keyboard enables its interface.
        this.#commandByte &= ~commandByte.keyboardDisabled;
        this.#answer(this.#keyboard.receive(value));
        break;
    }
  }

  #writeCommand(value: number): void {
    this.#lastWasCommand = true;
    this.#pendingCommand = 0;
    if (value >= command.readMemoryFirst && value <= command.readMemoryLast) {
      this.#answer([this.#memory[value & 0x1f] ?? 0]);
      return;
    }
    if (value >= command.writeMemoryFirst && value <= command.writeMemoryLast) {
      this.#pendingCommand = value;
      return;
    }
    if (value >= command.pulseFirst) {
      // Low bits that are 0 are pulsed: bit 0 is the reset line.
      if ((value & outputPort.notReset) === 0) this.#request("reset");
      return;
    }
    switch (value) {
      case command.disableAuxiliary:
        this.#commandByte |= commandByte.auxiliaryDisabled;
        break;
      case command.enableAuxiliary:
        this.#commandByte &= ~commandByte.auxiliaryDisabled;
        break;
      case command.testAuxiliary:
        this.#answer([portTestClockLow]);
        break;
      case command.selfTest:
        this.#commandByte |= commandByte.systemFlag;
        this.#queue = [];
        this.#answer([selfTestPassed]);
        break;
      case command.testKeyboard:
        this.#answer([portTestPassed]);
        break;
      case command.disableKeyboard:
        this.#commandByte |= commandByte.keyboardDisabled;
        break;
      case command.enableKeyboard:
        this.#commandByte &= ~commandByte.keyboardDisabled;
        break;
      case command.readInputPort:
        this.#answer([0x80]);
        break;
      case command.readOutputPort:
        this.#answer([this.#outputPort | (this.#queue.length > 0 ? outputPort.keyboardFull : 0)]);
        break;
      case command.writeOutputPort:
      case command.writeKeyboardOutput:
      case command.writeAuxiliaryOutput:
      case command.writeAuxiliary:
        this.#pendingCommand = value;
        break;
      default:
        break;
    }
  }

  #writeOutputPort(value: number): void {
    // NOTE: bit 1 is the A20 gate; address line 20 is never masked here, the bit only reads back.
    this.#outputPort = value;
    if ((value & outputPort.notReset) === 0) {
      this.#request("reset");
    }
  }

  #answer(bytes: readonly number[]): void {
    this.#queue.push(...bytes.slice(0, queueCapacity - this.#queue.length));
    this.#updateLine();
  }

  #updateLine(): void {
    this.#line.set(this.#queue.length > 0 && (this.#commandByte & commandByte.keyboardInterrupt) !== 0);
  }

  #save(): I8042State {
    const queue = new Uint8Array(queueCapacity);
    queue.set(this.#queue);
    return {
      memory: this.#memory.slice(),
      outputPort: this.#outputPort,
      pendingCommand: this.#pendingCommand,
      lastWasCommand: this.#lastWasCommand,
      queue,
      queueLength: this.#queue.length,
      lastData: this.#lastData,
      ...this.#keyboard.save(),
    };
  }

  #restore(state: I8042State): void {
    if (state.queueLength > queueCapacity || state.scanCodeSet < 1 || state.scanCodeSet > 3) {
      const reason =
        state.queueLength > queueCapacity
          ? `${state.queueLength} bytes wait where ${queueCapacity} fit`
          : `scan code set ${state.scanCodeSet}`;
      throw deviceErrors.ERR_CPR_DEVICE_STATE({ device: this.id, reason });
    }
    this.#memory.set(state.memory);
    this.#outputPort = state.outputPort;
    this.#pendingCommand = state.pendingCommand;
    this.#lastWasCommand = state.lastWasCommand;
    this.#queue = [...state.queue.subarray(0, state.queueLength)];
    this.#lastData = state.lastData;
    this.#keyboard.restore(state);
    this.#updateLine();
  }
}

/** Makes the keyboard controller. Property: `irq`, 1 by default. */
export class I8042Model implements DeviceModel {
  readonly name = "i8042";

  create(context: DeviceContext): Device {
    return new I8042(context);
  }
}
