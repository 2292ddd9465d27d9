import {
  type ApicBus,
  type ApicMessage,
  type BackendLocalApics,
  type Device,
  type LocalApicState,
  localApicState,
} from "@cpr/core";

/** The APIC bus of a machine whose local APICs are the execution backend's: it leads to them. */
export class BackendApicBus implements ApicBus {
  readonly #localApics: BackendLocalApics;

  constructor(localApics: BackendLocalApics) {
    this.#localApics = localApics;
  }

  send(message: ApicMessage): void {
    this.#localApics.send(message);
  }

  route(pin: number, message: ApicMessage | undefined): void {
    this.#localApics.route(pin, message);
  }

  endOfInterrupt(): void {
    throw new TypeError("the board has no local APIC that could end an interrupt");
  }
}

/** A local APIC of the execution backend as a device of the board: it is reset, saved and restored like any other. */
export function backendLocalApic(id: string, localApics: BackendLocalApics, processor: number): Device {
  return {
    id,
    reset: () => localApics.reset(processor),
    checkpoint: {
      kind: "state",
      schema: localApicState,
      save: () => localApics.save(processor),
      restore: (state) => localApics.restore(processor, state as LocalApicState),
    },
  };
}
