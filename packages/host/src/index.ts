/**
 * The VMs that are registered on a host: they are saved before the host goes down, and loaded when it is up again.
 *
 * @example
 * ```ts
 * import { Host } from "@cpr/host";
 *
 * for (const { name, state } of await new Host().list()) console.log(name, state);
 * ```
 *
 * @packageDocumentation
 */
export { Host, type WorkOptions } from "./host.ts";
export { hostErrors } from "./host-errors.ts";
export { type HostFolders, hostFolders } from "./host-folders.ts";
export { type HostAction, type HostReport, summaryOf, type VmReport } from "./host-report.ts";
export type { LoadOptions, StartOptions } from "./load-vm.ts";
export { systemdUnit, unitName } from "./systemd-unit.ts";
export { checkVmName, type VmDefinition } from "./vm-definition.ts";
export type { VmListing } from "./vm-listing.ts";
