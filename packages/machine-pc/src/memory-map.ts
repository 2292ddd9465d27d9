import { type MemoryMapEntry, memoryType } from "@cpr/boot-linux";
import type { RamRegion } from "@cpr/core";
import { firmwareArea } from "./layout.ts";

/** End of conventional memory, where an extended BIOS data area would begin. */
const conventionalEnd = 0x9_fc00;
const videoStart = 0xa_0000;
const mebibyte = 0x10_0000;

/** The memory map that the kernel is given (e820): RAM, without what lies under the video memory and the firmware area. */
export function memoryMap(regions: readonly RamRegion[]): MemoryMapEntry[] {
  const { usable, reserved } = memoryType;
  const rest = regions.flatMap(({ guestAddress, size }): MemoryMapEntry[] =>
    guestAddress === 0
      ? [{ address: mebibyte, size: size - mebibyte, type: usable }]
      : [{ address: guestAddress, size, type: usable }],
  );
  return [
    { address: 0, size: conventionalEnd, type: usable },
    { address: conventionalEnd, size: videoStart - conventionalEnd, type: reserved },
    { ...firmwareArea, type: reserved },
    ...rest,
  ];
}
