import type { CharacterDevice, Device, DeviceContext, DeviceModel } from "@cpr/core";
import { Properties } from "../properties.ts";
import { ports } from "./registers.ts";

/**
 * Ports for guest programs, as Bochs and QEMU have them: a byte written to 0xe9 is output on a character device (a
 * read gives 0xe9, which tells that the port is there), and any write to 0xf4 ends the VM.
 */
class DebugPort implements Device {
  readonly id: string;
  readonly checkpoint = { kind: "stateless" } as const;

  constructor(context: DeviceContext) {
    const properties = new Properties(context);
    this.id = context.id;
    const host: CharacterDevice = context.characterDevice(properties.text("characterDevice"));
    context.bus.ports.claim(`${context.id}/console`, properties.integer("consolePort", 0xffff, ports.console), 1, {
      read: () => ports.console,
      write: (_offset, _size, value) => host.write(Uint8Array.of(value)),
    });
    context.bus.ports.claim(`${context.id}/exit`, properties.integer("exitPort", 0xfffc, ports.exit), 4, {
      read: () => 0,
      write: () => context.request("shutdown"),
    });
  }

  reset(): void {
    // Nothing is kept.
  }
}

/** Makes debug ports. Properties: `characterDevice`; `consolePort`, 0xe9, and `exitPort`, 0xf4, by default. */
export class DebugPortModel implements DeviceModel {
  readonly name = "debug-port";

  create(context: DeviceContext): Device {
    return new DebugPort(context);
  }
}
