/** Feature bits of a network device (virtio 1.2 §5.1.3). */
export const networkFeature = {
  /** Frames from the driver may lack their checksum, those to it too. */
  checksum: 1n << 0n,
  guestChecksum: 1n << 1n,
  mtu: 1n << 3n,
  macAddress: 1n << 5n,
  guestTso4: 1n << 7n,
  guestTso6: 1n << 8n,
  guestEcn: 1n << 9n,
  hostTso4: 1n << 11n,
  hostTso6: 1n << 12n,
  hostEcn: 1n << 13n,
  /** A frame may be spread over several buffers. */
  mergeableBuffers: 1n << 15n,
  status: 1n << 16n,
  controlQueue: 1n << 17n,
  controlReceive: 1n << 18n,
  /** The driver can announce itself when it is asked to. */
  announce: 1n << 21n,
  controlMacAddress: 1n << 23n,
} as const;

/** Virtqueues (virtio 1.2 §5.1.2). */
export const queueIndex = { receive: 0, transmit: 1, control: 2 } as const;

/** Where fields are in the configuration space, and its size (virtio 1.2 §5.1.4). */
export const configurationField = { mac: 0, status: 6, queuePairs: 8, mtu: 10, size: 12 } as const;

/** Bits of the status in the configuration space. */
export const networkStatus = { linkUp: 1, announce: 2 } as const;

/** Where the number of buffers is in the header of a frame (virtio 1.2 §5.1.6). */
export const bufferCountOffset = 10;

/** Classes and commands of the control queue, and what it answers (virtio 1.2 §5.1.6.5). */
export const control = {
  receive: 0,
  promiscuous: 0,
  allMulticast: 1,
  macAddress: 1,
  setTable: 0,
  setAddress: 1,
  announcement: 3,
  acknowledge: 0,
} as const;
export const answer = { ok: 0, error: 1 } as const;
