import { pciBus } from "../layout.ts";
import { type Aml, addressRange, device, eisaId, integer, ioPorts, name, packageOf, resourceTemplate } from "./aml.ts";

const slotCount = 32;
const pinCount = 4;
/** The ports of configuration mechanism #1, which are the host bridge's own; devices could have those around them. */
const configurationPorts = { base: 0xcf8, length: 8 } as const;
const lastPort = 0xffff;

/**
 * The PCI host bridge (ACPI 6.5 §6.2.13 and §6.5.5): bus 0, the addresses that ranges can have, and where the interrupt pins of the
 * slots lead: to global system interrupts that need no setting.
 */
export function pciRoot(): Aml {
  const portsEnd = configurationPorts.base + configurationPorts.length;
  const routes = Array.from({ length: slotCount * pinCount }, (_, index) => {
    const slot = Math.floor(index / pinCount);
    const pin = index % pinCount;
    // The address names all functions of a slot; the third element is no device but says that the fourth is an interrupt.
    return packageOf(
      integer(slot * 0x1_0000 + 0xffff),
      integer(pin),
      integer(0),
      integer(pciBus.firstInterrupt + ((slot + pin) % pinCount)),
    );
  });
  return device(
    "PCI0",
    name("_HID", eisaId("PNP0A03")),
    name("_UID", integer(0)),
    name("_BBN", integer(0)),
    name(
      "_CRS",
      resourceTemplate(
        addressRange("bus", 0, 0),
        ioPorts(configurationPorts.base, configurationPorts.length),
        addressRange("ports", 0, configurationPorts.base - 1),
        addressRange("ports", portsEnd, lastPort),
        addressRange("memory", pciBus.windowBase, pciBus.windowBase + pciBus.windowSize - 1),
      ),
    ),
    name("_PRT", packageOf(...routes)),
  );
}
