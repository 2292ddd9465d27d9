import { closeSync, openSync, readSync } from "node:fs";
import { addon, checked } from "./addon.ts";
import { addressOf, pageSize } from "./memory-map.ts";

/** Size of an entry of `/proc/PID/pagemap` (Linux Documentation/admin-guide/mm/pagemap.rst). */
const entrySize = 8;
const entriesAtOnce = 65_536;
/** Bit 63, present in RAM, or bit 62, swapped out, in the entry's last byte. */
const presentOrSwapped = 0xc0;

/** Categories of PAGEMAP_SCAN (the same document). */
const category = { present: 1 << 3, swapped: 1 << 4, zeroPage: 1 << 5 } as const;
const regionsAtOnce = 512;

/**
 * The pages of a view that this process has ever used, as [start, end) byte offsets in ascending order: the others
 * are as they were mapped. It needs no privilege.
 *
 * @throws {Error} with `code` if `/proc` is not mounted.
 */
export function touchedRangesOf(view: Uint8Array): [number, number][] {
  const descriptor = openSync("/proc/self/pagemap", "r");
  try {
    return scanRanges(descriptor, view) ?? readRanges(descriptor, view);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Has the kernel look for them, which leaves out whole page tables at once, and pages that were only read.
 *
 * @returns undefined on a kernel before Linux 6.7.
 */
function scanRanges(descriptor: number, view: Uint8Array): [number, number][] | undefined {
  const pairs = new Float64Array(2 * regionsAtOnce);
  const { present, swapped, zeroPage } = category;
  const ranges: [number, number][] = [];
  for (let done = 0; done < view.length; ) {
    const count = addon().scanPagemap(descriptor, view, done, pairs, zeroPage, zeroPage, present | swapped);
    if (count < 0 && done === 0) {
      return undefined;
    }
    checked("ioctl", count);
    for (let index = 0; index < count; index++) {
      addRange(ranges, pairs[2 * index] as number, pairs[2 * index + 1] as number);
    }
    if (count < regionsAtOnce) {
      break;
    }
    done = pairs[2 * count - 1] as number;
  }
  return ranges;
}

/** Looks at the entry of each page. */
export function readRanges(descriptor: number, view: Uint8Array): [number, number][] {
  const page = pageSize();
  const first = Number(addressOf(view) / BigInt(page));
  const pages = Math.ceil(view.length / page);
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
        addRange(ranges, start, start + page);
      }
    }
    done += count;
  }
  return ranges;
}

function addRange(ranges: [number, number][], start: number, end: number): void {
  const last = ranges.at(-1);
  if (last !== undefined && last[1] === start) {
    last[1] = end;
  } else {
    ranges.push([start, end]);
  }
}
