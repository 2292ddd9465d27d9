/** Feature bits (virtio 1.2 §5.5.3). */
export const feature = { deflateOnOutOfMemory: 1n << 2n, reporting: 1n << 5n } as const;

/** Virtio device id (virtio 1.2 §5). */
export const balloonDevice = 5;

/** The device-specific configuration (virtio 1.2 §5.5.4): its length, and where the target and the driver's answer are. */
export const configuration = { size: 8, target: 0, actual: 4 } as const;

/**
 * The queues (virtio 1.2 §5.5.2). Those of statistics and hints, which this device does not have, are left out of the count: so
 * QEMU and Linux number them, whatever the specification says.
 */
export const queue = { inflate: 0, deflate: 1, reporting: 2 } as const;

/** Pages are always of this size, and counted in 32 bits (virtio 1.2 §5.5.6). */
export const pageSize = 4096;
