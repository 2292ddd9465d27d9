import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { unpackDebianPackage } from "./debian-archive.ts";
import { root } from "./workspace.ts";

/**
 * Options that make this machine's gcc compile static programs for 32-bit x86: with the libraries of Debian's 32-bit
 * packages, which are unpacked into the cache and not installed.
 *
 * @throws {DebianArchiveError} the first time, when no archive can be reached
 */
export async function optionsFor32Bits(): Promise<string[]> {
  const version = execFileSync("gcc", ["-dumpversion"], { encoding: "utf8" }).trim().split(".")[0] as string;
  const folder = join(root, ".cache", `gcc-${version}-32`);
  if (!existsSync(folder)) {
    await mkdir(join(root, ".cache"), { recursive: true });
    const temporary = await mkdtemp(`${folder}-`);
    try {
      for (const name of ["libc6-dev-i386", `lib32gcc-${version}-dev`]) await unpackDebianPackage(name, temporary);
      await rename(temporary, folder).catch((error: NodeJS.ErrnoException) => {
        // Another process fetched the same at the same time: what it left is as good.
        if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
      });
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  }
  const headers = [join(folder, "usr/include/x86_64-linux-gnu"), "/usr/include/x86_64-linux-gnu"];
  const libraries = [join(folder, "usr/lib32"), join(folder, `usr/lib/gcc/x86_64-linux-gnu/${version}/32`)];
  return [
    "-m32",
    ...headers.flatMap((path) => ["-isystem", path]),
    ...libraries.flatMap((path) => [`-B${path}`, `-L${path}`]),
  ];
}
