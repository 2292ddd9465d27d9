import type { Device, DeviceContext, DeviceModel } from "@cpr/core";
import { Properties } from "../properties.ts";
import { virtioPciDevice, virtioPciProperties } from "../virtio/virtio-pci.ts";
import { VirtioSerial } from "./virtio-serial.ts";

/** As many ports as QEMU's device has. */
const maximumPorts = 31;

/** Makes virtio serial devices, into which `virtserialport` and `virtconsole` are plugged. */
export class VirtioSerialPciModel implements DeviceModel {
  readonly name = "virtio-serial-pci";
  readonly plugsInto = "pci";
  readonly properties = {
    ...virtioPciProperties,
    max_ports: `number of ports that there can be, up to ${maximumPorts}, which is the default`,
  };

  create(context: DeviceContext): Device {
    const ports = new Properties(context).integer("max_ports", maximumPorts, maximumPorts);
    // One vector for the configuration and one for all queues, since there are so many.
    const options = { name: this.name, deviceClass: 0x07_8000, vectors: 2 };
    return virtioPciDevice(context, () => new VirtioSerial(context.id, Math.max(1, ports)), options);
  }
}
