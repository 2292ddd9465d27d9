import type { Device, DeviceContext, DeviceModel } from "@cpr/core";
import { Properties } from "../properties.ts";
import { virtioPciDevice, virtioPciProperties } from "../virtio/virtio-pci.ts";
import { VirtioBlock } from "./virtio-block.ts";

/** Mass storage, of no other kind (PCI 3.0 appendix D). */
const deviceClass = 0x01_00_00;

/** The model `virtio-blk-pci`: a disk, `-device virtio-blk-pci,drive=ID`. */
export class VirtioBlockPciModel implements DeviceModel {
  readonly name = "virtio-blk-pci";
  readonly plugsInto = "pci";
  readonly properties = {
    ...virtioPciProperties,
    drive: "the disk: the id of a -drive, or the node-name of a -blockdev",
    serial: "text by which the guest knows the disk, up to 20 bytes",
    "write-cache": "on, the default: the guest asks when data is to be durable; off: all writes are, at once",
  } as const;

  /** @throws {CprError} ERR_CPR_DEVICE_PROPERTY, ERR_CPR_BLOCK_DEVICE */
  create(context: DeviceContext): Device {
    const properties = new Properties(context);
    const options = {
      id: context.id,
      disk: context.blockDevice(properties.text("drive")),
      serial: properties.optionalText("serial") ?? "",
      writeCache: properties.flag("write-cache", true),
    };
    return virtioPciDevice(context, (transport) => new VirtioBlock(options, transport), {
      name: this.name,
      deviceClass,
    });
  }
}
