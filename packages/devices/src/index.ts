/**
 * Device models of the PC. Each folder is one device: its registers, its state and its behaviour.
 *
 * @packageDocumentation
 */
export { AcpiPowerModel } from "./acpi-power/acpi-power.ts";
export { CmosRtcModel } from "./cmos-rtc/cmos-rtc.ts";
export { DebugPortModel } from "./debug-port/debug-port.ts";
export { deviceErrors } from "./errors.ts";
export { I8042Model } from "./i8042/i8042.ts";
export { type Ioapic, IoapicModel } from "./ioapic/ioapic.ts";
export { LocalApicModel } from "./local-apic/local-apic.ts";
export { PciHostModel } from "./pci/pci-host.ts";
export { Pic8259Model } from "./pic-8259/pic-8259.ts";
export { Pit8254Model } from "./pit-8254/pit-8254.ts";
export { PvpanicModel } from "./pvpanic/pvpanic.ts";
export { ResetControlModel } from "./reset-control/reset-control.ts";
export { Uart16550Model } from "./uart-16550/uart-16550.ts";
export * from "./virtio/virtio-device.ts";
export * from "./virtio/virtio-pci.ts";
export * from "./virtio/virtqueue.ts";
export { VirtioBalloonPciModel } from "./virtio-balloon/virtio-balloon-pci.ts";
export { VirtioBlockPciModel } from "./virtio-blk/virtio-blk-pci.ts";
export { VirtioNetworkPciModel } from "./virtio-net/virtio-net-pci.ts";
export { VirtioRngModel } from "./virtio-rng/virtio-rng.ts";
export { VirtConsoleModel, VirtSerialPortModel } from "./virtio-serial/serial-port-models.ts";
export { VirtioSerialPciModel } from "./virtio-serial/virtio-serial-pci.ts";
export { VmgenidModel } from "./vmgenid/vmgenid.ts";
