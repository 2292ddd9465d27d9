import type { DescriptorChain } from "../virtio/virtqueue.ts";
import { requestHeaderSize } from "./registers.ts";

/** A request of the driver (virtio 1.2 §5.2.6). */
export interface BlockRequest {
  readonly type: number;
  /** First sector; one that has no exact number is beyond the end of any disk. */
  readonly sector: number;
  /** What the driver gives, behind the header. */
  readonly given: readonly Uint8Array[];
  /** Where the answer goes, without the status. */
  readonly answer: readonly Uint8Array[];
  /** The byte of the status. */
  readonly status: Uint8Array;
}

/**
 * Reads a request, wherever the borders of its buffers are (virtio 1.2 §2.7.4): the header is the first 16 bytes that the device
 * may read, the status the last byte that it may write. Undefined if it lacks one of them.
 */
export function readBlockRequest({ readable, writable }: DescriptorChain): BlockRequest | undefined {
  const room = lengthOf(writable);
  if (lengthOf(readable) < requestHeaderSize || room === 0) return undefined;
  // A copy: the driver could change what was checked.
  const header = copyOf(readable, requestHeaderSize);
  const [answer, [status]] = splitAt(writable, room - 1);
  return {
    type: header.getUint32(0, true),
    sector: header.getUint32(8, true) + header.getUint32(12, true) * 2 ** 32,
    given: splitAt(readable, requestHeaderSize)[1],
    answer,
    status: status as Uint8Array,
  };
}

export function lengthOf(buffers: readonly Uint8Array[]): number {
  return buffers.reduce((sum, { length }) => sum + length, 0);
}

/** The first bytes of buffers. */
export function copyOf(buffers: readonly Uint8Array[], length: number): DataView {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const buffer of splitAt(buffers, length)[0]) {
    bytes.set(buffer, at);
    at += buffer.length;
  }
  return new DataView(bytes.buffer);
}

/** What is in buffers before and behind a number of bytes, without empty ones. */
function splitAt(buffers: readonly Uint8Array[], length: number): readonly [Uint8Array[], Uint8Array[]] {
  const before: Uint8Array[] = [];
  const behind: Uint8Array[] = [];
  let left = length;
  for (const buffer of buffers) {
    const taken = Math.min(left, buffer.length);
    if (taken > 0) before.push(buffer.subarray(0, taken));
    if (taken < buffer.length) behind.push(buffer.subarray(taken));
    left -= taken;
  }
  return [before, behind];
}
