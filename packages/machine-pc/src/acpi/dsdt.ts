import { generationIdentifier, interrupts, panicPort, serialPorts } from "../layout.ts";
import {
  type Aml,
  device,
  eisaId,
  integer,
  ioPorts,
  irq,
  method,
  name,
  notify,
  packageOf,
  resourceTemplate,
  scope,
  string,
} from "./aml.ts";
import { pciRoot } from "./pci-root.ts";

/**
 * The sleep types that the power management hardware takes for standby, which keeps all there is, for suspend to RAM, and for soft off.
 * QEMU has other numbers, but guests that sleep with 1 in standby are in checkpoints.
 */
const sleepType = { standby: 1, memory: 3, softOff: 5 } as const;

/** What the DSDT describes. */
export interface DefinedHardware {
  readonly processorCount: number;
  readonly serialCount: number;
  /** There is a port at which a guest tells that it has panicked. */
  readonly panicPort?: boolean;
  /** There is a generation identifier. */
  readonly generationIdentifier?: boolean;
  /** There is a PCI bus. */
  readonly pciBus?: boolean;
}

/** Name of the device of a vCPU: C000, C001, … */
function processorName(index: number): string {
  return `C${index.toString(16).toUpperCase().padStart(3, "0")}`;
}

/**
 * Code of the DSDT: how to sleep and to switch off, the vCPUs, and the devices that a driver cannot find out for itself. The power button is part of the fixed hardware.
 */
export function differentiatedDefinitions(hardware: DefinedHardware): Aml {
  const { processorCount, serialCount } = hardware;
  const legacy = (path: string, id: string, ...resources: readonly Aml[]): Aml =>
    device(path, name("_HID", eisaId(id)), name("_CRS", resourceTemplate(...resources)));
  const processors = Array.from({ length: processorCount }, (_, index) =>
    device(processorName(index), name("_HID", string("ACPI0007")), name("_UID", integer(index))),
  );
  const serial = serialPorts
    .slice(0, serialCount)
    .map(({ port, irq: line }, index) =>
      device(
        `COM${index + 1}`,
        name("_HID", eisaId("PNP0501")),
        name("_UID", integer(index + 1)),
        name("_CRS", resourceTemplate(ioPorts(port, 8), irq(line))),
      ),
    );
  const sleepState = (path: string, type: number): Aml =>
    name(path, packageOf(integer(type), integer(0), integer(0), integer(0)));
  return [
    ...sleepState("_S1", sleepType.standby),
    ...sleepState("_S3", sleepType.memory),
    ...sleepState("_S5", sleepType.softOff),
    ...scope(
      "_SB",
      ...processors,
      legacy("PIC", "PNP0000", ioPorts(0x20, 2), ioPorts(0xa0, 2), ioPorts(0x4d0, 2)),
      legacy("TIMR", "PNP0100", ioPorts(0x40, 4), irq(interrupts.timer)),
      legacy("RTC", "PNP0B00", ioPorts(0x70, 2), irq(interrupts.clock)),
      legacy("KBD", "PNP0303", ioPorts(0x60, 1), ioPorts(0x64, 1), irq(interrupts.keyboard)),
      ...serial,
      ...(hardware.pciBus === true ? [pciRoot()] : []),
      ...(hardware.panicPort === true ? [panicDevice()] : []),
      ...(hardware.generationIdentifier === true ? [generationDevice()] : []),
    ),
    ...(hardware.generationIdentifier === true ? generationEvent() : []),
  ];
}

/** QEMU docs/specs/pvpanic.rst, "ISA interface". */
function panicDevice(): Aml {
  return device("PEVT", name("_HID", string("QEMU0001")), name("_CRS", resourceTemplate(ioPorts(panicPort, 1))));
}

/** The name of the device and what ADDR is are of Microsoft's specification, as is the notification (Virtual Machine Generation ID). */
function generationDevice(): Aml {
  return device(
    "VGEN",
    name("_HID", string("CPRG0001")),
    name("_CID", string("VM_Gen_Counter")),
    name("_DDN", string("VM_Gen_Counter")),
    // The low and the high half of the address.
    name("ADDR", packageOf(integer(generationIdentifier.address), integer(0))),
  );
}

/** The handler of the event that tells of a change (ACPI 6.5 §5.6.4.1.1): _Exx is edge-triggered. */
function generationEvent(): Aml {
  const number = generationIdentifier.event.toString(16).toUpperCase().padStart(2, "0");
  return scope("_GPE", method(`_E${number}`, notify("\\_SB.VGEN", 0x80)));
}
