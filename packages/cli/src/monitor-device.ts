import { parseShortForm } from "./character-backends/backend-options.ts";
import { cliErrors } from "./cli-errors.ts";

/** What `-monitor` and `-qmp` can name. */
export type MonitorDevice =
  | { readonly kind: "stdio" }
  | { readonly kind: "none" }
  /** A socket that clients connect to; with `wait`, the VM starts when there is one. */
  | { readonly kind: "unix"; readonly path: string; readonly wait: boolean };

/**
 * Takes a `-monitor` or `-qmp` value apart. As in QEMU, a comma in the path is written twice, and a server waits unless it
 * is told not to.
 *
 * @throws {CprError} ERR_CPR_OPTION_VALUE, ERR_CPR_CHARDEV
 */
export function parseMonitorDevice(option: "monitor" | "qmp", text: string): MonitorDevice {
  if (text === "none") {
    return { kind: "none" };
  }
  const device = parseShortForm(option, text);
  if (device?.kind === "stdio" && !device.withMonitor) {
    return { kind: "stdio" };
  }
  if (device?.kind === "socket" && device.server && device.address.kind === "unix") {
    return { kind: "unix", path: device.address.path, wait: device.wait };
  }
  throw cliErrors.ERR_CPR_OPTION_VALUE({
    option,
    value: text,
    expected: "stdio, none, or unix:PATH,server=on,wait=off",
  });
}
