import { bool, defineState, type StateOf, u32, u64 } from "@cpr/core";

/** What the driver knows of the disk, and the cache mode that it has chosen (virtio 1.2 §5.2.4). */
export const virtioBlockState = defineState("virtio-blk", 1, {
  /** In sectors of 512 bytes. */
  capacity: u64,
  blockSize: u32,
  readOnly: bool,
  writeback: bool,
});
export type VirtioBlockState = StateOf<typeof virtioBlockState>;
