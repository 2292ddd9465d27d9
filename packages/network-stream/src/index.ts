/**
 * Networks through a stream socket: to other VMs, and to the outside through passt.
 *
 * @example
 * ```ts
 * const properties = { "addr.type": "unix", "addr.path": "/run/switch.sock" };
 * const link = await new StreamBackend().open({ type: "stream", id: "n0", properties });
 * ```
 *
 * @packageDocumentation
 */
export { streamErrors } from "./errors.ts";
export { PasstBackend, UserBackend } from "./passt-backends.ts";
export { PasstHostCheck } from "./passt-host-check.ts";
export { StreamBackend } from "./stream-backend.ts";
