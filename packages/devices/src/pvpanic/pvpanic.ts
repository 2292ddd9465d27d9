import type { Device, DeviceContext, DeviceModel } from "@cpr/core";
import { panicked, panicPort } from "./registers.ts";

/**
 * The port at which a guest tells that it has panicked (QEMU docs/specs/pvpanic.rst). Of the events, there is that one.
 */
class Pvpanic implements Device {
  readonly id: string;
  readonly checkpoint = { kind: "stateless" } as const;

  constructor(context: DeviceContext) {
    this.id = context.id;
    context.bus.ports.claim(context.id, panicPort, 1, {
      // What the guest may tell.
      read: () => panicked,
      write: (_offset, _size, value) => {
        if ((value & panicked) !== 0) context.request("guest-panic");
      },
    });
  }

  reset(): void {
    // It holds nothing.
  }
}

/** Makes the device by which a guest tells that it has panicked. It has no properties. */
export class PvpanicModel implements DeviceModel {
  readonly name = "pvpanic";
  readonly plugsInto = "board";

  create(context: DeviceContext): Device {
    return new Pvpanic(context);
  }
}
