/** What a stretch of guest-physical address space is: the type numbers of e820 (ACPI 6.5 §15, table 15.4). */
export const memoryType = { usable: 1, reserved: 2, acpiTables: 3, acpiNonVolatile: 4 } as const;

/** One entry of the memory map that the kernel is given. */
export interface MemoryMapEntry {
  readonly address: number;
  readonly size: number;
  readonly type: number;
}

/** Where the loader puts its own things: in the first megabyte, below 0x40000. */
export const place = {
  descriptorTable: 0x500,
  bootParameters: 0x7000,
  /** Top of a small stack. */
  stack: 0x8ff0,
  /** Six pages: one for each of the two upper levels, four directories for 4 GiB. */
  pageTables: 0x9000,
  startInfo: 0x1_0000,
  setupData: 0x1_1000,
  commandLine: 0x2_0000,
  end: 0x4_0000,
} as const;

/** Whether a range lies in usable RAM of one entry and outside of the loader's own places. */
export function isFree(map: readonly MemoryMapEntry[], address: number, size: number): boolean {
  return (
    (address >= place.end || address + size <= place.descriptorTable) &&
    map.some(
      (entry) =>
        entry.type === memoryType.usable && address >= entry.address && address + size <= entry.address + entry.size,
    )
  );
}

/** End of the usable RAM that begins at or above 1 MiB and below 4 GiB: where kernel and initrd go. */
export function lowRamEnd(map: readonly MemoryMapEntry[]): number {
  return map
    .filter((entry) => entry.type === memoryType.usable && entry.address < 0x1_0000_0000)
    .reduce((end, entry) => Math.max(end, entry.address + entry.size), 0);
}
