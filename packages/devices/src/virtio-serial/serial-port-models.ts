import type { Device, DeviceContext, DeviceModel } from "@cpr/core";
import { Properties } from "../properties.ts";
import type { VirtioSerialBus } from "./virtio-serial.ts";

/** The state of a port is the bus's. */
class PortDevice implements Device {
  readonly id: string;
  readonly checkpoint = { kind: "stateless" } as const;

  constructor(id: string) {
    this.id = id;
  }

  reset(): void {
    // The bus resets its ports.
  }
}

/** Plugs a port into the bus of a virtio serial device. */
function plugPort(context: DeviceContext, console: boolean): Device {
  const properties = new Properties(context);
  properties.part<VirtioSerialBus>("bus", "plug").plug({
    id: context.id,
    wanted: context.properties["nr"] === undefined ? undefined : properties.integer("nr", 0xffff),
    console,
    name: properties.optionalText("name") ?? "",
    host: context.characterDevice(properties.text("chardev")),
  });
  return new PortDevice(context.id);
}

const portProperties = {
  chardev: "the character device at the host's end, by its id",
  name: "by which programs in the guest find the port, in /dev/virtio-ports",
  nr: "number of the port; default: the first that is free",
} as const;

/** Makes ports for programs in the guest, e.g. for QEMU's guest agent. */
export class VirtSerialPortModel implements DeviceModel {
  readonly name = "virtserialport";
  readonly plugsInto = "virtio-serial";
  readonly properties = portProperties;

  create(context: DeviceContext): Device {
    return plugPort(context, false);
  }
}

/** Makes consoles: `hvc0` and so on in a Linux guest. */
export class VirtConsoleModel implements DeviceModel {
  readonly name = "virtconsole";
  readonly plugsInto = "virtio-serial";
  readonly properties = portProperties;

  create(context: DeviceContext): Device {
    return plugPort(context, true);
  }
}
