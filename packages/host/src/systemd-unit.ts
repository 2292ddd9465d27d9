import { readFileSync } from "node:fs";

/** The name of the unit that saves the VMs before the host goes down and loads them when it is up. */
export const unitName = "cpr-host.service";

/**
 * The text of the unit.
 *
 * @param program - the words of the command `cpr`, with an absolute path.
 */
export function systemdUnit(program: readonly string[]): string {
  const shipped = readFileSync(new URL(`../systemd/${unitName}`, import.meta.url), "utf8");
  return shipped.replaceAll("/usr/bin/cpr", () => program.map(quoted).join(" "));
}

/** A word of a command line as systemd reads it (systemd.service(5)). */
function quoted(word: string): string {
  const escaped = word.replaceAll("%", "%%").replaceAll("$", () => "$$");
  return /^[\w@%+=:,./$-]+$/.test(escaped) ? escaped : `"${escaped.replace(/["\\]/g, "\\$&")}"`;
}
