/** Virtio device id of a block device (virtio 1.2 §5.2.1). */
export const blockDeviceId = 2;

/** Feature bits (virtio 1.2 §5.2.3). */
export const blockFeature = {
  maximumSegments: 1n << 2n,
  readOnly: 1n << 5n,
  blockSize: 1n << 6n,
  flush: 1n << 9n,
  writeCache: 1n << 11n,
  discard: 1n << 13n,
  writeZeroes: 1n << 14n,
} as const;

/** Where the fields of the configuration are (virtio 1.2 §5.2.4); numbers are little-endian. */
export const blockField = {
  /** 64 bits: sectors of 512 bytes, as all numbers of sectors. */
  capacity: 0,
  maximumSegments: 12,
  blockSize: 20,
  /** 8 bits, which the driver may write: 1 with a write cache, 0 without. */
  writeback: 32,
  maximumDiscardSectors: 36,
  maximumDiscardSegments: 40,
  discardAlignment: 44,
  maximumZeroSectors: 48,
  maximumZeroSegments: 52,
  /** 8 bits. */
  zeroesMayUnmap: 56,
} as const;
export const blockConfigurationSize = 60;

/** Types of requests (virtio 1.2 §5.2.6). */
export const requestType = { read: 0, write: 1, flush: 4, identify: 8, discard: 11, writeZeroes: 13 } as const;
/** Bytes before the data of a request: type, reserved, sector. */
export const requestHeaderSize = 16;

/** What a request ends with, in one byte behind its data. */
export const requestStatus = { ok: 0, ioError: 1, unsupported: 2 } as const;

/** A range to be discarded or zeroed: sector (64 bits), number of sectors, flags (32 bits each). */
export const segmentSize = 16;
export const segmentFlag = { unmap: 1 } as const;

export const sectorSize = 512;
/** Length of the text that {@link requestType.identify} gives. */
export const identifierSize = 20;
