/**
 * What boots a kernel, apart from the board: a VM that waits for a checkpoint does not load it before it is needed.
 *
 * @packageDocumentation
 */
export { checkLinux, loadLinux, parseKernel, protectedModeEntry } from "@cpr/boot-linux";
export { memoryMap } from "./memory-map.ts";
