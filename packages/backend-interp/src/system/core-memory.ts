import { coreMemorySize, tlbAt, tlbEntries, tlbEntrySize, tlbInvalidTag } from "../layout.ts";
import type { CoreMemory, RamViews } from "../processor-interface.ts";

const pageSize = 0x1_0000;

/** Makes the core memory of a vCPU: all zero but for the TLB, which is empty. */
export function createCoreMemory(): CoreMemory {
  const pages = coreMemorySize / pageSize;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const { buffer } = memory;
  const core: CoreMemory = {
    memory,
    u8: new Uint8Array(buffer),
    u16: new Uint16Array(buffer),
    u32: new Uint32Array(buffer),
    i32: new Int32Array(buffer),
    u64: new BigUint64Array(buffer),
    view: new DataView(buffer),
  };
  for (let entry = 0; entry < 2 * tlbEntries; entry++) {
    const at = (tlbAt + entry * tlbEntrySize) >> 2;
    core.u32[at] = tlbInvalidTag;
    core.u32[at + 2] = tlbInvalidTag;
  }
  return core;
}

/** Views of guest RAM. `size` may be less than what follows `start` in the memory: what lies beyond is not the guest's. */
export function createRamViews(memory: WebAssembly.Memory, size: number, start: number): RamViews {
  const { buffer } = memory;
  return {
    memory,
    u8: new Uint8Array(buffer, start),
    u32: new Uint32Array(buffer, start),
    view: new DataView(buffer, start),
    size,
    start,
  };
}
