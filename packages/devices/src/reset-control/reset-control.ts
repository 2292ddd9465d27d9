import type { Device, DeviceContext, DeviceModel } from "@cpr/core";
import { deviceErrors } from "../errors.ts";
import { stateCheckpoint } from "../state-checkpoint.ts";
import { ports, resetControl, systemControl } from "./registers.ts";
import { resetControlState } from "./state.ts";

/**
 * The reset control register at port 0xcf9, which is also the FADT's reset register, and system control port A at
 * 0x92 with its fast reset. Every kind of reset is a reset of the whole machine.
 */
class ResetControl implements Device {
  readonly id: string;
  readonly checkpoint = stateCheckpoint(
    resetControlState,
    () => ({ resetControl: this.#resetControl, systemControl: this.#systemControl }),
    (state) => {
      if (
        (state.resetControl & ~resetControl.writable) !== 0 ||
        (state.systemControl & ~systemControl.writable) !== 0
      ) {
        throw deviceErrors.ERR_CPR_DEVICE_STATE({ device: this.id, reason: "reserved register bits are set" });
      }
      this.#resetControl = state.resetControl;
      this.#systemControl = state.systemControl;
    },
  );

  #resetControl = 0;
  #systemControl: number = systemControl.a20;

  constructor(context: DeviceContext) {
    this.id = context.id;
    context.bus.ports.claim(context.id, ports.resetControl, 1, {
      read: () => this.#resetControl,
      write: (_offset, _size, value) => {
        const rises = (value & ~this.#resetControl & resetControl.reset) !== 0;
        this.#resetControl = value & resetControl.writable;
        if (rises) context.request("reset");
      },
    });
    context.bus.ports.claim(`${context.id}/system-control`, ports.systemControl, 1, {
      read: () => this.#systemControl,
      write: (_offset, _size, value) => {
        const rises = (value & ~this.#systemControl & systemControl.fastReset) !== 0;
        // NOTE: bit 1 is the A20 gate; address line 20 is never masked here, the bit only reads back.
        this.#systemControl = value & systemControl.writable;
        if (rises) context.request("reset");
      },
    });
  }

  reset(): void {
    this.#resetControl = 0;
    this.#systemControl = systemControl.a20;
  }
}

/** Makes the reset control registers. It has no properties. */
export class ResetControlModel implements DeviceModel {
  readonly name = "reset-control";

  create(context: DeviceContext): Device {
    return new ResetControl(context);
  }
}
