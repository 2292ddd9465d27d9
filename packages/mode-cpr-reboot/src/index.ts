/**
 * The migration mode `cpr-reboot`.
 *
 * @example
 * ```ts
 * const refusals = new CprRebootMode().judgeOutgoing(plan);
 * ```
 *
 * @packageDocumentation
 */
export { CprRebootMode } from "./cpr-reboot-mode.ts";
export { cprRebootErrors } from "./errors.ts";
export { KexecHostCheck } from "./kexec-host-check.ts";
