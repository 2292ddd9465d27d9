import type { Device, DeviceContext, DeviceModel } from "@cpr/core";
import { Properties } from "../properties.ts";
import { virtioPciDevice, virtioPciProperties } from "../virtio/virtio-pci.ts";
import { VirtioBalloon } from "./virtio-balloon.ts";

/** Makes memory balloons. */
export class VirtioBalloonPciModel implements DeviceModel {
  readonly name = "virtio-balloon-pci";
  readonly plugsInto = "pci";
  readonly properties = {
    ...virtioPciProperties,
    "free-page-reporting": "on: the guest tells of pages that are free, which go back to the host; default: off",
    "deflate-on-oom": "on: the guest may take pages back when it has none left; default: off",
  };

  create(context: DeviceContext): Device {
    const properties = new Properties(context);
    const options = {
      id: context.id,
      memory: context.memory,
      reporting: properties.flag("free-page-reporting", false),
      deflateOnOutOfMemory: properties.flag("deflate-on-oom", false),
    };
    return virtioPciDevice(context, (transport) => new VirtioBalloon(options, transport), {
      name: this.name,
      deviceClass: 0x00_ff00,
    });
  }
}
