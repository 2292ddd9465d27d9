/** Feature bits (virtio 1.2 §5.3.3). */
export const feature = { multiport: 1n << 1n } as const;

/** Virtio device id (virtio 1.2 §5). */
export const consoleDevice = 3;

/** The device-specific configuration (virtio 1.2 §5.3.4): its length, and where the number of ports is. */
export const configuration = { size: 12, maximumPorts: 4 } as const;

/** The control queues (virtio 1.2 §5.3.2); those of port n > 0 come behind them. */
export const controlQueue = { input: 2, output: 3 } as const;

/** A control message: the port's number, then the event and its value, 16 bits each (virtio 1.2 §5.3.6.2). */
export const messageSize = 8;

/** What a control message can say (virtio 1.2 §5.3.6.2). */
export const controlEvent = {
  deviceReady: 0,
  portAdd: 1,
  portReady: 3,
  consolePort: 4,
  portOpen: 6,
  portName: 7,
} as const;

/** Index of the queue on which a port's input goes to the guest; the one behind it has the port's output. */
export function inputQueue(port: number): number {
  return port === 0 ? 0 : 2 * port + 2;
}
