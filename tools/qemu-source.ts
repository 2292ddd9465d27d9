import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { DebianArchiveError, downloadDebianSource } from "./debian-archive.ts";
import { root } from "./workspace.ts";

const run = promisify(execFile);
const cache = join(root, ".cache", "qemu-source");

/** Takes a file or folder out of the newest source of QEMU that Debian has (backports included), unless it is in the cache. */
async function extract(path: string, name: string): Promise<string> {
  const target = join(cache, name);
  if (existsSync(target)) return target;
  await mkdir(cache, { recursive: true });
  const folder = await mkdtemp(join(cache, "download-"));
  try {
    await downloadDebianSource("qemu", folder);
    const tarball = (await readdir(folder)).find((each) => /\.orig\.tar\.\w+$/.test(each));
    if (tarball === undefined) throw new DebianArchiveError("the source of qemu has no tarball");
    const member = [`*/${path}`, `*/${path}/*`];
    await run("tar", [
      "-xf",
      join(folder, tarball),
      "-C",
      folder,
      "--strip-components=1",
      "--wildcards",
      ...member,
    ]).catch((error: unknown) => {
      // A file has nothing below it, which tar counts as an error.
      if (!existsSync(join(folder, path))) throw error;
    });
    await rename(join(folder, path), target).catch((error: NodeJS.ErrnoException) => {
      // Another process fetched the same at the same time: what it left is as good.
      if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return target;
}

/**
 * A file of QEMU's source as Debian has it, newest release first (backports), e.g. `scripts/analyze-migration.py`. It is
 * fetched when it is first asked for.
 *
 * @returns its path
 * @throws {DebianArchiveError} when no archive can be reached
 */
export const qemuSourceFile = (path: string): Promise<string> => extract(path, basename(path));

/** As {@link qemuSourceFile}, but a folder with all that is in it, e.g. `tests/tcg/i386`. */
export const qemuSourceFolder = (path: string): Promise<string> => extract(path, path.replaceAll("/", "-"));
