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
const cache = join(root, ".cache", "lab");

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
  return cachedDebianPackages(join(cache, `packages-${packages.join("-")}`), packages, { dependencies: true });
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
  return hash.digest("hex").slice(0, 16);
}

/** Makes a file with an ext4 file system of that size in it; e2fsprogs must be there. */
export async function makeExt4(path: string, size: string, options: readonly string[] = []): Promise<void> {
  await run("/usr/sbin/mke2fs", ["-q", "-t", "ext4", ...options, path, size]);
}

/**
 * The lab host's `/usr` as an ext4 image, made when something that goes into it has changed; images before it are removed.
 *
 * @returns its path
 * @throws {DebianArchiveError} if mke2fs is missing and cannot be installed
 */
export async function systemImage(log: (message: string) => void): Promise<string> {
  await ensureDebianPackages(["e2fsprogs"]);
  const files = await systemFiles();
  const image = join(cache, `system-${identityOf(files)}.img`);
  if (existsSync(image)) return image;
  log("Making the lab host's system image ...");
  await mkdir(cache, { recursive: true });
  const folder = await mkdtemp(join(cache, "system-"));
  try {
    const content = join(folder, "usr");
    for (const { path, source } of files) {
      await mkdir(dirname(join(content, path)), { recursive: true });
      await copyFile(source, join(content, path));
    }
    const bytes = files.reduce((sum, { source }) => sum + statSync(source).size, 0);
    const megabytes = Math.ceil((bytes * 1.1) / 2 ** 20) + 16;
    const temporary = join(folder, "system.img");
    // No journal and no room for root: it is only ever read.
    await makeExt4(temporary, `${megabytes}M`, ["-O", "^has_journal", "-m", "0", "-d", content]);
    const outdated = (await readdir(cache)).filter((name) => /^system-[0-9a-f]{16}\.img$/.test(name));
    await rename(temporary, image);
    // A lab host that runs has its image open.
    for (const name of outdated) if (join(cache, name) !== image) await rm(join(cache, name), { force: true });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return image;
}
