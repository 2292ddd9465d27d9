/**
 * Guest RAM on device DAX (`memory-backend-file` with `mem-path=/dev/daxX.Y`): it outlives the host kernel.
 *
 * @packageDocumentation
 */
export type { DeviceNumber } from "./dax-device.ts";
export { DaxHostCheck } from "./dax-host-check.ts";
export { type DaxHost, DaxMemoryProvider, takeApart } from "./dax-memory-provider.ts";
