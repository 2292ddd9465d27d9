/**
 * Loads Linux kernels, and other programs in ELF files, into guest RAM.
 *
 * @packageDocumentation
 */
export { bootErrors } from "./errors.ts";
export { type KernelFile, kernelEnd, parseKernel } from "./kernel-file.ts";
export { checkLinux, type LinuxBoot, type LinuxBootFacts, loadLinux } from "./load-linux.ts";
export { type MemoryMapEntry, memoryType } from "./memory-map.ts";
export { protectedModeEntry } from "./processor-entry.ts";
