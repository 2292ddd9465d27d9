import type { ProcessorState, SegmentState } from "@cpr/core";
import { place } from "./memory-map.ts";

/** Selectors that the 64-bit boot protocol prescribes: __BOOT_CS and __BOOT_DS. */
const codeSelector = 0x10;
const dataSelector = 0x18;
const taskSelector = 0x20;

/** Descriptor bits 8 to 15 and 20 to 23, as {@link SegmentState} has them: present, accessed, 4 KiB granularity. */
const attributes = { code64: 0xa09b, code32: 0xc09b, data: 0xc093, busyTask: 0x008b } as const;

const cr0 = { protection: 0x1n, extensionType: 0x10n, numericError: 0x20n, paging: 0x8000_0000n } as const;
const cr4PhysicalAddressExtension = 0x20n;
const efer = { longModeEnabled: 0x100n, longModeActive: 0x400n } as const;

function flat(selector: number, flags: number): SegmentState {
  return { selector, base: 0n, limit: 0xffff_ffff, attributes: flags, unusable: false };
}

/** General registers with values at some places of the encoding's order, the others 0. */
function registersWith(values: Readonly<Record<number, number>>): bigint[] {
  return Array.from({ length: 16 }, (_, index) => BigInt(values[index] ?? 0));
}

const register = { rbx: 3, rsp: 4, rsi: 6 } as const;

/** What both entries have in common: interrupts off, flat segments, an empty IDT, a task register that is valid. */
function flatState(reset: ProcessorState, codeAttributes: number): ProcessorState {
  const data = flat(dataSelector, attributes.data);
  return {
    ...reset,
    rflags: 0x2n,
    // ES CS SS DS FS GS
    segments: [data, flat(codeSelector, codeAttributes), data, data, data, data],
    ldtr: { selector: 0, base: 0n, limit: 0, attributes: 0, unusable: true },
    tr: { selector: taskSelector, base: 0n, limit: 0x67, attributes: attributes.busyTask, unusable: false },
    gdtr: { base: BigInt(place.descriptorTable), limit: 5 * 8 - 1 },
    idtr: { base: 0n, limit: 0 },
    cr2: 0n,
    cr8: 0n,
    // Runnable, whatever the vCPU did before the reset.
    activity: 0,
    interruptShadow: 0,
  };
}

/**
 * A vCPU at a 64-bit entry point (Linux Documentation/arch/x86/boot.rst, "64-bit Boot Protocol"): long mode, the first
 * 4 GiB mapped one to one by {@link writeIdentityMap}, RSI points to the boot parameters.
 */
export function longModeEntry(reset: ProcessorState, entry: number): ProcessorState {
  return {
    ...flatState(reset, attributes.code64),
    registers: registersWith({ [register.rsi]: place.bootParameters, [register.rsp]: place.stack }),
    rip: BigInt(entry),
    cr0: cr0.protection | cr0.extensionType | cr0.numericError | cr0.paging,
    cr3: BigInt(place.pageTables),
    cr4: cr4PhysicalAddressExtension,
    efer: efer.longModeEnabled | efer.longModeActive,
  };
}

/** A vCPU at a PVH entry point (Xen docs/misc/pvh.pandoc): in protected mode, and EBX points to the start info. */
export function pvhEntry(reset: ProcessorState, entry: number): ProcessorState {
  return { ...protectedModeEntry(reset, entry), registers: registersWith({ [register.rbx]: place.startInfo }) };
}

/** A vCPU in 32-bit protected mode with flat segments and without paging. */
export function protectedModeEntry(reset: ProcessorState, entry: number): ProcessorState {
  return {
    ...flatState(reset, attributes.code32),
    registers: registersWith({}),
    rip: BigInt(entry),
    cr0: cr0.protection | cr0.extensionType,
    cr3: 0n,
    cr4: 0n,
    efer: 0n,
  };
}

/** Writes the descriptors that the selectors of both entries name. */
export function writeDescriptorTable(view: DataView, is64Bit: boolean): void {
  const descriptor = (flags: number, limit: number): bigint =>
    BigInt(limit & 0xffff) | (BigInt(flags & 0xff) << 40n) | (BigInt(((flags >> 8) & 0xf0) | (limit >> 16)) << 48n);
  view.setBigUint64(0, 0n, true);
  view.setBigUint64(8, 0n, true);
  view.setBigUint64(codeSelector, descriptor(is64Bit ? attributes.code64 : attributes.code32, 0xf_ffff), true);
  view.setBigUint64(dataSelector, descriptor(attributes.data, 0xf_ffff), true);
  view.setBigUint64(taskSelector, descriptor(attributes.busyTask, 0x67), true);
}

const pageSize = 4096;
const largePageSize = 2 ** 21;
const tableFlags = 0x3n; // present, writable
const largePageFlags = 0x83n; // present, writable, page size

/** Writes page tables that map the first 4 GiB one to one in pages of 2 MiB, at the start of `view`, six pages long. */
export function writeIdentityMap(view: DataView, address: number): void {
  const table = (index: number): bigint => BigInt(address + index * pageSize) | tableFlags;
  new Uint8Array(view.buffer, view.byteOffset, 6 * pageSize).fill(0);
  view.setBigUint64(0, table(1), true);
  for (let gibibyte = 0; gibibyte < 4; gibibyte++) {
    view.setBigUint64(pageSize + gibibyte * 8, table(2 + gibibyte), true);
  }
  for (let page = 0; page < 4 * 512; page++) {
    view.setBigUint64(2 * pageSize + page * 8, BigInt(page * largePageSize) | largePageFlags, true);
  }
}
