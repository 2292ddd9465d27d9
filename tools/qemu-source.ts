import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { DebianArchiveError, downloadDebianSource } from "./debian-archive.ts";
import { root } from "./workspace.ts";

const run = promisify(execFile);
const cache = join(root, ".cache", "qemu-source");

/**
 * A file of QEMU's source as Debian has it, newest release first (backports), e.g. `scripts/analyze-migration.py`. It is
 * fetched when it is first asked for.
 *
 * @returns its path
 * @throws {DebianArchiveError} when no archive can be reached
 */
export async function qemuSourceFile(path: string): Promise<string> {
  const target = join(cache, basename(path));
  if (existsSync(target)) return target;
  await mkdir(cache, { recursive: true });
  const folder = await mkdtemp(join(cache, "download-"));
  try {
    await downloadDebianSource("qemu", folder);
    const tarball = (await readdir(folder)).find((name) => /\.orig\.tar\.\w+$/.test(name));
    if (tarball === undefined) throw new DebianArchiveError("the source of qemu has no tarball");
    await run("tar", ["-xf", join(folder, tarball), "-C", folder, "--strip-components=1", "--wildcards", `*/${path}`]);
    await rename(join(folder, path), target);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return target;
}
