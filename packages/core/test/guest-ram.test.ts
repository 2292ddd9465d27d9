import { expect, test } from "vitest";
import type { Kernel, MemoryBacking, MemoryProvider, RamAlignment } from "../src/index.ts";
import { GuestRam } from "../src/vm/guest-ram.ts";
import { CountingBackend } from "./fakes/fake-plugin.ts";

const size = 1 << 20;

/** A kernel with one provider, whose objects demand to begin at multiples of their `align`. */
const kernel = {
  keys: () => ["aligned"],
  get: async (): Promise<Partial<MemoryProvider>> => ({
    objectTypes: ["memory-backend-file"],
    accepts: async () => true,
    open: async ({ id, align }) =>
      ({
        id,
        size,
        supports: { shared: true, survivesProcessExit: true, survivesReboot: true },
        alignment: align === undefined ? undefined : { multiple: align, addressOf: () => BigInt(align) },
        mapInto: () => undefined,
        close: async () => undefined,
      }) as unknown as MemoryBacking,
  }),
} as unknown as Kernel;

test.each([
  [[undefined, undefined], undefined],
  [[undefined, 2 ** 21], 2 ** 21],
  [[2 ** 21, 2 ** 30], 2 ** 30],
  [[2 ** 30, 2 ** 21], 2 ** 30],
])("RAM of objects aligned to %o begins at a multiple of %o", async (alignments, expected) => {
  const asked: (RamAlignment | undefined)[] = [];
  const backend = new (class extends CountingBackend {
    override allocateRam(total: number, alignment?: RamAlignment) {
      asked.push(alignment);
      return super.allocateRam(total);
    }
  })();
  const objects = alignments.map((align, index) => ({
    type: "memory-backend-file",
    id: `ram${index}`,
    size,
    ...(align === undefined ? {} : { align }),
  }));
  const ram = await GuestRam.open(kernel, backend, objects);
  expect(asked.map((alignment) => alignment?.multiple)).toEqual([expected]);
  expect(asked[0]?.addressOf(new Uint8Array())).toBe(expected === undefined ? undefined : BigInt(expected));
  await ram.close();
});
