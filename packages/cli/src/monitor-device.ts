import { cliErrors } from "./cli-errors.ts";

/** What `-monitor` and `-qmp` can name. */
export type MonitorDevice =
  | { readonly kind: "stdio" }
  | { readonly kind: "none" }
  /** A socket that clients connect to; with `wait`, the VM starts when there is one. */
  | { readonly kind: "unix"; readonly path: string; readonly wait: boolean };

/** QEMU's ways of writing a truth value, and its older ones for these options. */
const switches: Readonly<Record<string, readonly ["server" | "wait", boolean]>> = {
  server: ["server", true],
  "server=on": ["server", true],
  "server=off": ["server", false],
  wait: ["wait", true],
  "wait=on": ["wait", true],
  "wait=off": ["wait", false],
  nowait: ["wait", false],
};

/**
 * Takes a `-monitor` or `-qmp` value apart. As in QEMU, a comma in the path is written twice, and a server waits unless it
 * is told not to.
 *
 * @throws {CprError} ERR_CPR_OPTION_VALUE
 */
export function parseMonitorDevice(option: "monitor" | "qmp", text: string): MonitorDevice {
  if (text === "stdio" || text === "none") {
    return { kind: text };
  }
  const [first = "", ...rest] = text.replaceAll(",,", "\0").split(",");
  const path = first.slice("unix:".length).replaceAll("\0", ",");
  const chosen = { server: false, wait: true };
  let known = first.startsWith("unix:") && path !== "";
  for (const each of rest) {
    const [name, value] = switches[each] ?? [];
    if (name === undefined || value === undefined) known = false;
    else chosen[name] = value;
  }
  if (!known || !chosen.server) {
    throw cliErrors.ERR_CPR_OPTION_VALUE({
      option,
      value: text,
      expected: "stdio, none, or unix:PATH,server=on,wait=off",
    });
  }
  return { kind: "unix", path, wait: chosen.wait };
}
