import type { Device, DeviceContext, DeviceModel } from "@cpr/core";
import { deviceErrors } from "../errors.ts";
import { Properties } from "../properties.ts";
import { virtioPciDevice, virtioPciProperties } from "../virtio/virtio-pci.ts";
import { parseMacAddress } from "./mac-address.ts";
import { VirtioNetwork } from "./virtio-network.ts";

/** An Ethernet controller (PCI 3.0 appendix D). */
const deviceClass = 0x02_00_00;
/** QEMU's first address. */
const defaultAddress = "52:54:00:12:34:56";
const smallestMtu = 68;
const largestMtu = 65_535;

/** The model `virtio-net-pci`: a network card, `-device virtio-net-pci,netdev=ID`. */
export class VirtioNetworkPciModel implements DeviceModel {
  readonly name = "virtio-net-pci";
  readonly plugsInto = "pci";
  readonly properties = {
    ...virtioPciProperties,
    netdev: "the network: the id of a -netdev",
    mac: "the card's Ethernet address; default: 52:54:00:12:34:56, and for further cards those that follow",
    host_mtu: "the largest packet that the guest should send; default: it is not told",
  } as const;

  /** @throws {CprError} ERR_CPR_DEVICE_PROPERTY, ERR_CPR_NETWORK_NOT_FOUND, ERR_CPR_NETWORK_IN_USE */
  create(context: DeviceContext): Device {
    const properties = new Properties(context);
    const wrong = (property: string, expected: string): Error =>
      deviceErrors.ERR_CPR_DEVICE_PROPERTY({ device: context.id, property, expected });
    const mac = parseMacAddress(properties.optionalText("mac") ?? defaultAddress);
    if (mac === undefined) throw wrong("mac", "an address of one card, like 52:54:00:12:34:56,");
    const mtu = properties.integer("host_mtu", largestMtu, 0);
    if (mtu !== 0 && mtu < smallestMtu)
      throw wrong("host_mtu", `0, or an integer from ${smallestMtu} to ${largestMtu}`);
    const link = context.network(properties.text("netdev"));
    const options = { id: context.id, link, mac, mtu: mtu === 0 ? undefined : mtu };
    return virtioPciDevice(context, (transport) => new VirtioNetwork(options, transport), {
      name: this.name,
      deviceClass,
    });
  }
}
