import { closeSync, openSync, readSync } from "node:fs";
import { addressOf, pageSize } from "./memory-map.ts";

/** Size of an entry of `/proc/PID/pagemap` (Linux Documentation/admin-guide/mm/pagemap.rst). */
const entrySize = 8;
const entriesAtOnce = 65_536;
/** Bit 63, present in RAM, or bit 62, swapped out, in the entry's last byte. */
const presentOrSwapped = 0xc0;

/**
 * The pages of a view that this process has ever used, as [start, end) byte offsets in ascending order: the others
 * are as they were mapped. It needs no privilege.
 *
 * @throws {Error} with `code` if `/proc` is not mounted.
 */
export function touchedRangesOf(view: Uint8Array): [number, number][] {
  const page = pageSize();
  const first = Number(addressOf(view) / BigInt(page));
  const pages = Math.ceil(view.length / page);
  const descriptor = openSync("/proc/self/pagemap", "r");
  try {
    const entries = new Uint8Array(entriesAtOnce * entrySize);
    const ranges: [number, number][] = [];
    for (let done = 0; done < pages; ) {
      const wanted = Math.min(entriesAtOnce, pages - done) * entrySize;
      const count = readSync(descriptor, entries, 0, wanted, (first + done) * entrySize) / entrySize;
      if (count === 0) {
        throw new Error("/proc/self/pagemap ends too early");
      }
      for (let index = 0; index < count; index++) {
        if (((entries[index * entrySize + entrySize - 1] as number) & presentOrSwapped) !== 0) {
          const start = (done + index) * page;
          const last = ranges.at(-1);
          if (last !== undefined && last[1] === start) {
            last[1] = start + page;
          } else {
            ranges.push([start, start + page]);
          }
        }
      }
      done += count;
    }
    return ranges;
  } finally {
    closeSync(descriptor);
  }
}
