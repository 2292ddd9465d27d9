import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, globSync, realpathSync, statSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { ensureDebianPackages } from "../debian-archive.ts";
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

/** What the lab host has of this machine's programs: Node, QEMU with its firmware, and the libraries of both and of our addons. */
async function systemFiles(): Promise<SystemFile[]> {
  const programs = [
    { path: "bin/node", source: process.execPath },
    { path: "bin/qemu-system-x86_64", source: realpathSync("/usr/bin/qemu-system-x86_64") },
  ];
  const addons = globSync("packages/*/build/**/*.node", { cwd: root }).map((path) => join(root, path));
  const { stdout } = await run("ldd", [...programs.map(({ source }) => source), ...addons]);
  const libraries = librariesIn(stdout);
  const firmware = globSync(["/usr/share/qemu/*.{bin,rom}", "/usr/share/seabios/*"]);
  const below = [...new Set([...libraries, ...firmware])].map((path) => ({
    path: path.replace(/^\/(usr\/)?/, ""),
    source: realpathSync(path),
  }));
  return [...programs, ...below];
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

/**
 * The lab host's `/usr` as an ext4 image, made when something that goes into it has changed; images before it are removed.
 *
 * @returns its path
 * @throws {DebianArchiveError} if mke2fs is missing and cannot be installed
 */
export async function systemImage(log: (message: string) => void): Promise<string> {
  const files = await systemFiles();
  const image = join(cache, `system-${identityOf(files)}.img`);
  if (existsSync(image)) return image;
  await ensureDebianPackages(["e2fsprogs"]);
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
    const options = ["-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", content];
    await run("/usr/sbin/mke2fs", [...options, temporary, `${megabytes}M`]);
    const outdated = (await readdir(cache)).filter((name) => /^system-[0-9a-f]{16}\.img$/.test(name));
    await rename(temporary, image);
    // A lab host that runs has its image open.
    for (const name of outdated) if (join(cache, name) !== image) await rm(join(cache, name), { force: true });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return image;
}
