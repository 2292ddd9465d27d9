import type { GuestMemory } from "../guest-memory.ts";
import type { ReclaimFunction } from "../memory-provider.ts";
import type { RamReclaim } from "./machine-control.ts";

interface ReclaimModule {
  readonly reclaim: ReclaimFunction;
}

/**
 * Lets devices give pages of RAM back to the host. Where the module that does it cannot be loaded, e.g. because it was not
 * compiled, RAM stays as it is.
 */
export async function enableReclaim(memory: GuestMemory, parts: readonly RamReclaim[]): Promise<void> {
  const loaded = await Promise.all(
    parts.map(async (part) => {
      const module = (await import(part.module).catch(() => undefined)) as ReclaimModule | undefined;
      return module === undefined ? [] : [{ ...part, reclaim: module.reclaim }];
    }),
  );
  const able = loaded.flat();
  memory.reclaim = (offset, length) => {
    for (const { offset: start, size, shared, reclaim } of able) {
      const from = Math.max(offset, start);
      const to = Math.min(offset + length, start + size);
      if (from >= to) continue;
      reclaim(memory.bytes.subarray(from, to), shared);
      memory.onDeviceWrite(from, to - from);
    }
  };
}
