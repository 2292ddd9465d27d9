/**
 * Disks of the guest in raw images and on block devices of the host: the block driver `raw`.
 *
 * @packageDocumentation
 */
export { RawBlockDriver } from "./raw-block-driver.ts";
