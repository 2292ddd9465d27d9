/** Bytes of a function's configuration space. */
export const configurationSize = 256;

/** Offsets in configuration space, of a type 0 header (PCI 3.0 §6.1). */
export const header = {
  vendorId: 0x00,
  deviceId: 0x02,
  command: 0x04,
  status: 0x06,
  revision: 0x08,
  programmingInterface: 0x09,
  bars: 0x10,
  subsystemVendorId: 0x2c,
  subsystemId: 0x2e,
  capabilities: 0x34,
  interruptLine: 0x3c,
  interruptPin: 0x3d,
  end: 0x40,
} as const;

/** Bits of the command register (PCI 3.0 §6.2.2). */
export const command = { memorySpace: 0x0002, busMaster: 0x0004, interruptDisable: 0x0400 } as const;

/** Bits of the status register (PCI 3.0 §6.2.3). */
export const status = { interrupt: 0x0008, capabilities: 0x0010 } as const;

/** The MSI-X capability (PCI 3.0 §6.8.2): its id, offsets behind the header of two bytes, and bits of message control. */
export const messageCapability = { id: 0x11, control: 0, size: 10, maximumVectors: 2048 } as const;
export const messageControl = { enable: 0x8000, maskAll: 0x4000 } as const;

/** Configuration mechanism #1 (PCI 3.0 §3.2.2.3.2): I/O ports, and bits of the address register. */
export const mechanism = { addressPort: 0xcf8, dataPort: 0xcfc, enable: 0x8000_0000 } as const;
/** What of the address register can be set: reserved bits are 0. */
export const addressMask = 0x80ff_fffc;

export const slotCount = 32;
export const pinCount = 4;
