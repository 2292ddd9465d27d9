/** Ids of virtio devices on the PCI bus (virtio 1.2 §4.1.2), as QEMU has them for devices without the legacy interface. */
export const identity = {
  vendorId: 0x1af4,
  firstDeviceId: 0x1040,
  revision: 1,
  subsystemVendorId: 0x1af4,
  subsystemId: 0x1100,
} as const;

/** The base address registers of the structures, and of MSI-X. */
export const barIndex = 4;
export const messageBar = 1;

/** The structures lie in areas of this size in one range, in this order. */
export const areaSize = 0x1000;
export const area = { common: 0, interruptStatus: 1, configuration: 2, notification: 3 } as const;

/** Bytes between the places where the driver notifies of two queues. */
export const notifyMultiplier = 4;

/** A capability of the vendor (virtio 1.2 §4.1.4): offsets of its fields behind the header of two bytes. */
export const vendorCapability = {
  id: 0x09,
  length: 0,
  type: 1,
  bar: 2,
  offset: 6,
  structureLength: 10,
  size: 14,
} as const;

/** What a capability tells of (virtio 1.2 §4.1.4). */
export const capabilityType = {
  common: 1,
  notification: 2,
  interruptStatus: 3,
  configuration: 4,
  access: 5,
} as const;

/** Bits of the device status (virtio 1.2 §2.1). */
export const deviceStatus = { driverOk: 4, featuresOk: 8, needsReset: 64 } as const;

/** Feature bits of queues and transports (virtio 1.2 §6). */
export const feature = { indirectDescriptors: 1n << 28n, eventIndex: 1n << 29n, version1: 1n << 32n } as const;

/** Bits of the interrupt status (virtio 1.2 §4.1.4.5). */
export const interruptStatus = { queue: 1, configuration: 2 } as const;

/** No MSI-X vector (virtio 1.2 §4.1.5.1.2). */
export const noVector = 0xffff;

/** The widths of the fields of the common configuration structure that a driver can write, by offset (virtio 1.2 §4.1.4.3). */
export const commonField: Readonly<Record<number, 1 | 2 | 4>> = {
  0: 4,
  8: 4,
  12: 4,
  16: 2,
  20: 1,
  22: 2,
  24: 2,
  26: 2,
  28: 2,
  32: 4,
  36: 4,
  40: 4,
  44: 4,
  48: 4,
  52: 4,
};
