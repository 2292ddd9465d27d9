import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { unpackDebianPackage } from "../../../tools/debian-archive.ts";
import { root } from "../../../tools/workspace.ts";

/** strace(1), as a command to put before another one. */
export interface Strace {
  readonly path: string;
  readonly environment: NodeJS.ProcessEnv;
}

/**
 * The host's strace, or Debian's.
 *
 * @throws {DebianArchiveError} if there is neither
 */
export async function findStrace(): Promise<Strace> {
  const installed = ["/usr/bin/strace", "/usr/local/bin/strace"].find((path) => existsSync(path));
  if (installed !== undefined) return { path: installed, environment: {} };
  const folder = join(root, ".cache", "strace");
  const path = join(folder, "usr/bin/strace");
  if (!existsSync(path)) {
    mkdirSync(folder, { recursive: true });
    // It is linked with the latter, which no minimal system has.
    for (const name of ["libunwind8", "strace"]) await unpackDebianPackage(name, folder);
  }
  return { path, environment: { LD_LIBRARY_PATH: join(folder, "usr/lib/x86_64-linux-gnu") } };
}
