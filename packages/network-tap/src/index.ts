/**
 * Networks through a tap device of Linux.
 *
 * @example
 * ```ts
 * const link = await new TapBackend().open({ type: "tap", id: "n0", properties: { ifname: "tap0" } }, { incoming: false });
 * ```
 *
 * @packageDocumentation
 */
export { tapErrors } from "./errors.ts";
export { TapBackend } from "./tap-backend.ts";
export { TapHostCheck } from "./tap-host-check.ts";
