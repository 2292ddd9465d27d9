/**
 * The machine type `pc`.
 *
 * @packageDocumentation
 */
export { machineErrors } from "./errors.ts";
export { PcMachineModel } from "./pc-machine.ts";
