import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { cachedDebianPackages } from "./debian-archive.ts";
import { root } from "./workspace.ts";

/**
 * Options that make this machine's gcc compile static programs for 32-bit x86: with the libraries of Debian's 32-bit
 * packages, which are unpacked into the cache and not installed.
 *
 * @throws {DebianArchiveError} the first time, when no archive can be reached
 */
export async function optionsFor32Bits(): Promise<string[]> {
  const version = execFileSync("gcc", ["-dumpversion"], { encoding: "utf8" }).trim().split(".")[0] as string;
  const folder = await cachedDebianPackages(join(root, ".cache", `gcc-${version}-32`), [
    "libc6-dev-i386",
    `lib32gcc-${version}-dev`,
  ]);
  const headers = [join(folder, "usr/include/x86_64-linux-gnu"), "/usr/include/x86_64-linux-gnu"];
  const libraries = [join(folder, "usr/lib32"), join(folder, `usr/lib/gcc/x86_64-linux-gnu/${version}/32`)];
  return [
    "-m32",
    ...headers.flatMap((path) => ["-isystem", path]),
    ...libraries.flatMap((path) => [`-B${path}`, `-L${path}`]),
  ];
}
