import type {
  Device,
  DeviceContext,
  DeviceModel,
  ExternalInterrupts,
  InterruptController,
  InterruptLine,
} from "@cpr/core";
import { deviceErrors } from "../errors.ts";
import { stateCheckpoint } from "../state-checkpoint.ts";
import { Chip } from "./chip.ts";
import { cascadeInput, levelCapable, ports } from "./registers.ts";
import { picState } from "./state.ts";

/**
 * The PC's pair of 8259A interrupt controllers: inputs 0 to 7 are the master's, 8 to 15 the slave's, whose output is
 * the master's input 2. Its output is INTR of the boot processor, or its local APIC's LINT0.
 */
class Pic8259 implements Device, InterruptController, ExternalInterrupts {
  readonly id: string;
  onChange: () => void = () => undefined;
  readonly checkpoint = stateCheckpoint(
    picState,
    () => ({ chips: [this.#master.save(), this.#slave.save()] }),
    ({ chips: [master, slave] }) => {
      if (master === undefined || slave === undefined) return;
      const reason = this.#master.problem(master) ?? this.#slave.problem(slave);
      if (reason !== undefined) {
        throw deviceErrors.ERR_CPR_DEVICE_STATE({ device: this.id, reason });
      }
      this.#slave.restore(slave);
      this.#master.restore(master);
    },
  );

  readonly #master: Chip;
  readonly #slave: Chip;
  readonly #inputs: readonly InterruptLine[];
  #requested = false;

  constructor(context: DeviceContext) {
    this.id = context.id;
    this.#master = new Chip(1 << cascadeInput, levelCapable[0], () => this.#update());
    this.#slave = new Chip(0, levelCapable[1], () => this.#master.setInput(cascadeInput, this.#slave.output));
    this.#inputs = Array.from({ length: 16 }, (_, pin) => {
      const chip = pin < 8 ? this.#master : this.#slave;
      // The slave drives this pin; nothing else can.
      const set = pin === cascadeInput ? () => undefined : (level: boolean) => chip.setInput(pin & 7, level);
      return { set };
    });
    this.#claim(context, "master", ports.master, this.#master);
    this.#claim(context, "slave", ports.slave, this.#slave);
    const chips = [this.#master, this.#slave];
    context.bus.ports.claim(`${context.id}/edge-level-control`, ports.edgeLevelControl, 2, {
      read: (offset, size) => {
        const low = chips[offset]?.edgeLevelControl ?? 0;
        return size === 1 ? low : low | ((chips[offset + 1]?.edgeLevelControl ?? 0xff) << 8);
      },
      write: (offset, size, value) => {
        for (let index = 0; index < size; index++) {
          const chip = chips[offset + index];
          if (chip !== undefined) chip.edgeLevelControl = (value >> (8 * index)) & 0xff;
        }
      },
    });
  }

  input(pin: number): InterruptLine {
    const line = this.#inputs[pin];
    if (line === undefined) {
      throw new RangeError(`the 8259A pair has no input ${pin}`);
    }
    return line;
  }

  requested(): boolean {
    return this.#requested;
  }

  acknowledge(): number {
    const input = this.#master.acknowledge();
    if (input < 0) {
      // The request went away: the vector of input 7, with nothing in service.
      return this.#master.vectorBase + 7;
    }
    if (input !== cascadeInput) {
      return this.#master.vectorBase + input;
    }
    const slaveInput = this.#slave.acknowledge();
    // The slave's output falls in the acknowledge cycle and rises again if there is more: the master sees an edge.
    this.#master.setInput(cascadeInput, false);
    this.#master.setInput(cascadeInput, this.#slave.output);
    // A spurious interrupt of the slave leaves the master's input 2 in service.
    return this.#slave.vectorBase + (slaveInput < 0 ? 7 : slaveInput);
  }

  reset(): void {
    this.#slave.reset();
    this.#master.reset();
  }

  #claim(context: DeviceContext, name: string, base: number, chip: Chip): void {
    context.bus.ports.claim(`${context.id}/${name}`, base, 2, {
      read: (offset, size) => {
        const low = offset === 0 ? chip.readCommand() : chip.readData();
        return size === 1 ? low : low | ((offset === 0 ? chip.readData() : 0xff) << 8);
      },
      write: (offset, size, value) => {
        if (offset === 0) {
          chip.writeCommand(value & 0xff);
          if (size > 1) chip.writeData((value >> 8) & 0xff);
        } else {
          chip.writeData(value & 0xff);
        }
      },
    });
  }

  #update(): void {
    const requested = this.#master.output;
    if (requested !== this.#requested) {
      this.#requested = requested;
      this.onChange();
    }
  }
}

/** Makes the pair of 8259A. It has no properties. */
export class Pic8259Model implements DeviceModel {
  readonly name = "pic-8259";

  create(context: DeviceContext): Device & InterruptController & ExternalInterrupts {
    return new Pic8259(context);
  }
}
