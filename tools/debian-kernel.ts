import { execFile } from "node:child_process";
import { existsSync, globSync } from "node:fs";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { cachedFolder } from "./cached-folder.ts";
import { dependencyOf, ensureDebianPackages, type PackageSource, unpackDebianPackages } from "./debian-archive.ts";

const run = promisify(execFile);

/** A stock Debian kernel, unpacked into a cache. */
export interface DebianKernel {
  /** The kernel's release, as its `uname -r` says. */
  readonly kernelVersion: string;
  /** The path of the kernel, a bzImage. */
  readonly kernel: string;
  /** The folder of the kernel's modules (`lib/modules/<release>`), none of which is compressed. */
  readonly modules: string;
}

/** Where a package has left what belongs at `path`: older ones of Debian's still have it outside `/usr`. */
export const belowUsr = (folder: string, path: string): string =>
  join(folder, existsSync(join(folder, path)) ? path : join("usr", path));

/**
 * Debian's kernel for virtual machines, from `cache`, or from Debian's archive the first time.
 *
 * @throws {DebianArchiveError} the first time, when no archive can be reached
 */
export async function debianKernel(
  cache: string,
  log: (message: string) => void,
  source: PackageSource = {},
): Promise<DebianKernel> {
  await mkdir(cache, { recursive: true });
  const cached = (await readdir(cache)).filter((name) => /^\d+\..*-amd64$/.test(name)).sort();
  const version = cached.at(-1) ?? (await fetchKernel(cache, log, source));
  const folder = join(cache, version);
  return { kernelVersion: version, kernel: join(folder, "vmlinuz"), modules: join(folder, "modules") };
}

/** Fetches a kernel into a folder of the cache that is named for its release, and returns that name. */
async function fetchKernel(cache: string, log: (message: string) => void, source: PackageSource): Promise<string> {
  const name = await dependencyOf("linux-image-cloud-amd64", /^linux-image-\d.*-cloud-amd64$/, source);
  const version = name.slice("linux-image-".length);
  await cachedFolder(join(cache, version), async (folder) => {
    log(`Fetching ${name} from Debian's archive ...`);
    const unpacked = join(folder, "unpacked");
    await mkdir(unpacked);
    await unpackDebianPackages([name], unpacked, source);
    await rename(join(unpacked, "boot", `vmlinuz-${version}`), join(folder, "vmlinuz"));
    const modules = join(folder, "modules");
    await rename(belowUsr(unpacked, `lib/modules/${version}`), modules);
    await rm(unpacked, { recursive: true });
    const compressed = globSync("kernel/**/*.ko.xz", { cwd: modules });
    if (compressed.length > 0) {
      await ensureDebianPackages(["xz-utils"]);
      await run("xz", ["-d", ...compressed], { cwd: modules });
    }
  });
  return version;
}
