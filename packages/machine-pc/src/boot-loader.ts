/**
 * What boots a kernel, apart from the board: a VM that waits for a checkpoint does not load it.
 *
 * @packageDocumentation
 */
export { checkLinux, loadLinux, parseKernel } from "@cpr/boot-linux";
export { memoryMap } from "./memory-map.ts";
