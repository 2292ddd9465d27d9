import type { MemoryMapEntry } from "./memory-map.ts";

const magic = 0x336e_c578;
const version = 1;
const headerSize = 56;
const moduleSize = 32;
const entrySize = 24;

/** What the start info tells the kernel. */
export interface PvhStartInfo {
  /** Where the start info itself lies; its lists follow it. */
  readonly address: number;
  readonly commandLineAddress: number;
  readonly initrd: { readonly address: number; readonly size: number } | undefined;
  /** Address of the RSDP, 0 if there is none. */
  readonly acpiRootPointer: number;
  readonly memoryMap: readonly MemoryMapEntry[];
}

/** Writes `struct hvm_start_info` of version 1 with its lists of modules and memory (Xen, arch-x86/hvm/start_info.h). */
export function writePvhStartInfo(view: DataView, info: PvhStartInfo): void {
  const { address, commandLineAddress, initrd, acpiRootPointer, memoryMap } = info;
  const modules = headerSize;
  const map = modules + moduleSize;
  view.setUint32(0, magic, true);
  view.setUint32(4, version, true);
  view.setUint32(8, 0, true);
  view.setUint32(12, initrd === undefined ? 0 : 1, true);
  view.setBigUint64(16, initrd === undefined ? 0n : BigInt(address + modules), true);
  view.setBigUint64(24, BigInt(commandLineAddress), true);
  view.setBigUint64(32, BigInt(acpiRootPointer), true);
  view.setBigUint64(40, BigInt(address + map), true);
  view.setUint32(48, memoryMap.length, true);
  view.setUint32(52, 0, true);
  view.setBigUint64(modules, BigInt(initrd?.address ?? 0), true);
  view.setBigUint64(modules + 8, BigInt(initrd?.size ?? 0), true);
  view.setBigUint64(modules + 16, 0n, true);
  view.setBigUint64(modules + 24, 0n, true);
  for (const [index, entry] of memoryMap.entries()) {
    const at = map + index * entrySize;
    view.setBigUint64(at, BigInt(entry.address), true);
    view.setBigUint64(at + 8, BigInt(entry.size), true);
    view.setUint32(at + 16, entry.type, true);
    view.setUint32(at + 20, 0, true);
  }
}
