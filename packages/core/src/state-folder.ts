import { homedir } from "node:os";
import { join } from "node:path";

/**
 * Where this program keeps on a host what outlives a reboot: `CPR_STATE_DIRECTORY`, or `/var/lib/cpr` for root and the folder
 * `cpr` in `XDG_STATE_HOME` (`~/.local/state`) for others. It need not be there yet.
 */
export function stateFolder(): string {
  const { CPR_STATE_DIRECTORY: given, XDG_STATE_HOME: home = join(homedir(), ".local", "state") } = process.env;
  return given ?? (process.getuid?.() === 0 ? "/var/lib/cpr" : join(home, "cpr"));
}
