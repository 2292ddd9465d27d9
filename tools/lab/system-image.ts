import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, globSync, realpathSync, statSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { cachedDebianPackages, ensureDebianPackages } from "../debian-archive.ts";
import { belowUsr } from "../debian-kernel.ts";
import { root } from "../workspace.ts";

const run = promisify(execFile);
/** The cache of all that lab hosts are made of. */
export const labCache = join(root, ".cache", "lab");

/** A file of the lab host's `/usr`, and where it is on this machine. */
interface SystemFile {
  /** The path below `/usr`. */
  readonly path: string;
  readonly source: string;
}

/**
 * The shared libraries that a program or library needs, its dynamic linker among them: from the output of ldd(1), of which
 * these lines tell paths:
 *
 *     libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007fda0e879000)
 *     /lib64/ld-linux-x86-64.so.2 (0x00007fda0e97b000)
 *
 * @throws if one of them was not found
 */
export function librariesIn(output: string): string[] {
  const missing = /(\S+) => not found/.exec(output)?.[1];
  if (missing !== undefined) throw new Error(`The library ${missing} is missing.`);
  return [...output.matchAll(/(?:=> |^\s*)(\/\S+) \(0x/gm)].map(([, path = ""]) => path);
}

/** Packages whose programs a host needs for persistent memory and for kexec, and those programs. */
const debianPrograms = {
  packages: ["ndctl", "daxctl", "kexec-tools"],
  paths: ["bin/ndctl", "bin/daxctl", "sbin/kexec"],
};

/**
 * Programs that this machine need not have, from Debian's packages by way of the cache. They are not installed: kexec-tools
 * would change how this machine reboots.
 */
function unpackedPrograms(): Promise<string> {
  const { packages } = debianPrograms;
  return cachedDebianPackages(join(labCache, `packages-${packages.join("-")}`), packages, { dependencies: true });
}

/** The libraries that programs need: those of this machine, or those below `unpacked`, where a package was unpacked. */
async function librariesOf(programs: readonly string[], unpacked = ""): Promise<SystemFile[]> {
  const folders = ["lib", "usr/lib"].map((folder) => join(unpacked, folder, "x86_64-linux-gnu"));
  const environment = unpacked === "" ? {} : { LD_LIBRARY_PATH: folders.join(":") };
  const { stdout } = await run("ldd", programs, { env: { ...process.env, ...environment } });
  return librariesIn(stdout).map((path) => ({
    path: path.replace(unpacked, "").replace(/^\/(usr\/)?/, ""),
    source: realpathSync(path),
  }));
}

const sourcesOf = (files: readonly SystemFile[]): string[] => files.map(({ source }) => source);

/**
 * What the lab host has of this machine's programs: Node, QEMU with its firmware, mke2fs; those of Debian's packages for
 * persistent memory and kexec; and the libraries of all of them and of our addons.
 */
async function systemFiles(): Promise<SystemFile[]> {
  const programs = [
    { path: "bin/node", source: process.execPath },
    { path: "bin/qemu-system-x86_64", source: realpathSync("/usr/bin/qemu-system-x86_64") },
    { path: "sbin/mkfs.ext4", source: realpathSync("/usr/sbin/mke2fs") },
  ];
  const unpacked = await unpackedPrograms();
  const packaged = debianPrograms.paths.map((path) => ({ path, source: belowUsr(unpacked, path) }));
  const addons = globSync("packages/*/build/**/*.node", { cwd: root }).map((path) => join(root, path));
  const firmware = globSync(["/usr/share/qemu/*.{bin,rom}", "/usr/share/seabios/*"]);
  const files = [
    ...(await librariesOf(sourcesOf(packaged), unpacked)),
    ...(await librariesOf([...sourcesOf(programs), ...addons])),
    ...firmware.map((path) => ({ path: path.slice("/usr/".length), source: realpathSync(path) })),
    ...programs,
    ...packaged,
  ];
  // Of two of the same path the later one: this machine's libraries go before those of packages.
  return [...new Map(files.map((file) => [file.path, file])).values()];
}

/** A name that changes whenever one of the files does. */
function identityOf(files: readonly SystemFile[]): string {
  const hash = createHash("sha256");
  for (const { path, source } of files) {
    const { size, mtimeMs } = statSync(source);
    hash.update(`${path}\0${source}\0${size}\0${mtimeMs}\n`);
  }
  return hash.digest("hex");
}

/** Makes a file with an ext4 file system of that size in it; e2fsprogs must be there. @returns its path */
export async function makeExt4(path: string, size: string, options: readonly string[] = []): Promise<string> {
  await run("/usr/sbin/mke2fs", ["-q", "-t", "ext4", ...options, path, size]);
  return path;
}

/**
 * An ext4 image that is made when its identity has changed; images of its name before it are removed. `fill` puts what is to be
 * in it into a folder, and then has the image made, of a size and with options as mke2fs takes them.
 *
 * @returns its path
 * @throws {DebianArchiveError} if mke2fs is missing and cannot be installed
 */
export async function cachedImage(
  name: string,
  identity: string,
  fill: (folder: string, makeImage: (size: string, options?: readonly string[]) => Promise<string>) => Promise<unknown>,
): Promise<string> {
  const file = `${name}-${identity.slice(0, 16)}.img`;
  const image = join(labCache, file);
  if (existsSync(image)) return image;
  await ensureDebianPackages(["e2fsprogs"]);
  await mkdir(labCache, { recursive: true });
  const folder = await mkdtemp(join(labCache, `${name}-`));
  try {
    const content = join(folder, "content");
    await mkdir(content);
    const temporary = join(folder, file);
    await fill(content, (size, options = []) => makeExt4(temporary, size, [...options, "-d", content]));
    const outdated = (await readdir(labCache)).filter((each) => each.startsWith(`${name}-`) && each.endsWith(".img"));
    await rename(temporary, image);
    // A lab host that runs has its image open.
    for (const each of outdated) if (each !== file) await rm(join(labCache, each), { force: true });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return image;
}

/**
 * The lab host's `/usr` as an ext4 image: see {@link cachedImage}.
 *
 * @returns its path
 * @throws {DebianArchiveError} if mke2fs is missing and cannot be installed
 */
export async function systemImage(log: (message: string) => void): Promise<string> {
  await ensureDebianPackages(["e2fsprogs"]);
  const files = await systemFiles();
  return cachedImage("system", identityOf(files), async (folder, makeImage) => {
    log("Making the lab host's system image ...");
    for (const { path, source } of files) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await copyFile(source, join(folder, path));
    }
    const bytes = files.reduce((sum, { source }) => sum + statSync(source).size, 0);
    const megabytes = Math.ceil((bytes * 1.1) / 2 ** 20) + 16;
    // No journal and no room for root: it is only ever read.
    return makeImage(`${megabytes}M`, ["-O", "^has_journal", "-m", "0"]);
  });
}
