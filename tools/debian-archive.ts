import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { root } from "./workspace.ts";

const run = promisify(execFile);

/** The cache of everything that comes from Debian's archive. */
const cache = join(root, ".cache", "debian");

/** A Debian package could not be had; `cause` has what apt said. Callers that can do without catch this and say so. */
export class DebianArchiveError extends Error {
  override readonly name = "DebianArchiveError";
}

const isRoot = process.getuid?.() === 0;

/** Options common to all calls of apt: no progress bars, no long wait for a mirror, no complaint about who runs it. */
const common = [
  "-q",
  ...["Dpkg::Use-Pty=0", "Acquire::Retries=1", "Acquire::http::Timeout=15", "Acquire::https::Timeout=15"].flatMap(
    (option) => ["-o", option],
  ),
  ...(isRoot ? ["-o", "APT::Sandbox::User=root"] : []),
];
const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C.UTF-8" };

const apt = async (
  program: "apt-get" | "apt-cache",
  options: readonly string[],
  args: readonly string[],
  cwd?: string,
) =>
  (
    await run(program, [...common, ...options, ...args], {
      env: environment,
      maxBuffer: 1 << 26,
      ...(cwd ? { cwd } : {}),
    })
  ).stdout;

/** The paragraphs of the system's package sources in deb822 style and one-line style, file by file. */
async function systemSources(): Promise<{ name: string; text: string }[]> {
  const folder = "/etc/apt/sources.list.d";
  const parts = existsSync(folder) ? (await readdir(folder)).map((name) => join(folder, name)) : [];
  const files = ["/etc/apt/sources.list", ...parts].filter(
    (name) => /\.(list|sources)$/.test(name) && existsSync(name),
  );
  return Promise.all(
    files.map(async (name) => ({
      name: name.slice("/etc/apt/".length).replaceAll("/", "-"),
      text: await readFile(name, "utf8"),
    })),
  );
}

/**
 * Package sources, in deb822 or one-line style, with the suite `<release>-backports` wherever `<release>-updates` is: the same
 * mirrors and the same keys.
 */
export const withBackports = (text: string): string =>
  text
    .replace(/^(Suites:.*?)\b(\w+)-updates\b(.*)$/gm, "$1$2-updates$3 $2-backports")
    .replace(/^(deb\s+(?:\[.*?\]\s+)?\S+\s+)(\w+)-updates(\s.*)$/gm, "$1$2-updates$3\n$1$2-backports$3");

/** The same archives, but their source packages instead of the binary ones. */
const asSourceLists = (text: string): string =>
  text.replace(/^Types:\s*deb\b(?!-).*$/gm, "Types: deb-src").replace(/^deb\s/gm, "deb-src ");

/** Which package lists {@link privateLists} is to fetch. */
interface PrivateLists {
  readonly backports: boolean;
  /** Those of source packages instead. */
  readonly source?: boolean;
}

/**
 * Package lists of our own, fetched from the system's sources into the cache: for a system whose lists are missing or older
 * than the archive, for a user who may not update them, and for backports, without any change to the system.
 *
 * @returns the options that make apt use them
 */
async function privateLists({ backports, source = false }: PrivateLists): Promise<string[]> {
  const state = join(cache, source ? "apt-source" : backports ? "apt-backports" : "apt");
  const sources = join(state, "sources.d");
  await rm(sources, { recursive: true, force: true });
  for (const folder of [sources, join(state, "lists/partial"), join(state, "archives/partial")]) {
    await mkdir(folder, { recursive: true });
  }
  for (const { name, text } of await systemSources()) {
    const lists = backports ? withBackports(text) : text;
    await writeFile(join(sources, name), source ? asSourceLists(lists) : lists);
  }
  const options = [
    ...["-o", `Dir::State::lists=${join(state, "lists")}`],
    ...["-o", `Dir::Cache=${state}`],
    ...["-o", "Dir::Etc::sourcelist=/dev/null"],
    ...["-o", `Dir::Etc::sourceparts=${sources}`],
  ];
  // A source that cannot be reached is no reason to stop as long as another one has the package.
  await apt("apt-get", options, ["update"]).catch(() => undefined);
  return options;
}

/** Runs `attempt` with the system's package lists, and if that fails with fresh ones of our own. */
async function withLists<T>(what: string, attempt: (options: readonly string[]) => Promise<T>): Promise<T> {
  try {
    return await attempt([]);
  } catch {
    // The lists may be missing, or older than the archive; fresh ones decide.
  }
  try {
    return await attempt(await privateLists({ backports: false }));
  } catch (cause) {
    throw new DebianArchiveError(`No Debian archive could be reached to fetch ${what}.`, { cause });
  }
}

/** The first package that `name` depends on and whose name matches `pattern`, as the metapackages for kernels do. */
export const dependencyOf = (name: string, pattern: RegExp): Promise<string> =>
  withLists(name, async (options) => {
    const output = await apt("apt-cache", options, ["depends", "--important", name]);
    const found = [...output.matchAll(/Depends: (\S+)/g)]
      .map((match) => match[1] ?? "")
      .find((each) => pattern.test(each));
    if (found === undefined) throw new Error(`${name} depends on nothing that matches ${pattern}: ${output}`);
    return found;
  });

/**
 * Downloads a package and unpacks it into `folder`, which must exist. Nothing is installed; root is not needed.
 *
 * @throws {DebianArchiveError} when no archive has it or none can be reached
 */
export async function unpackDebianPackage(name: string, folder: string): Promise<void> {
  await mkdir(cache, { recursive: true });
  const downloads = await mkdtemp(join(cache, "download-"));
  try {
    await withLists(name, (options) => apt("apt-get", options, ["download", name], downloads));
    const [file] = (await readdir(downloads)).filter((each) => each.endsWith(".deb"));
    if (file === undefined) throw new DebianArchiveError(`apt-get download ${name} left no package behind.`);
    await run("dpkg", ["-x", join(downloads, file), folder]);
  } finally {
    await rm(downloads, { recursive: true, force: true });
  }
}

/**
 * Downloads the upstream tarball of a source package into `folder`, the newest that the archive has, backports included.
 *
 * @throws {DebianArchiveError} when no archive has it or none can be reached
 */
export async function downloadDebianSource(name: string, folder: string): Promise<void> {
  try {
    const lists = await privateLists({ backports: true, source: true });
    await apt("apt-get", lists, ["source", "--download-only", "--tar-only", name], folder);
  } catch (cause) {
    throw new DebianArchiveError(`No Debian archive could be reached to fetch the source of ${name}.`, { cause });
  }
}

/** What {@link ensureDebianPackages} may be told. */
export interface EnsureOptions {
  /** Take the packages from `<release>-backports`, with the mirrors and keys that the system has configured. */
  readonly backports?: boolean;
  /** Programs that are there when the packages are: nothing is done when all are found, whatever installed them. */
  readonly unless?: () => boolean | Promise<boolean>;
}

/**
 * Installs Debian packages that a test or a bench needs, when they are not there yet.
 *
 * @throws {DebianArchiveError} when they are missing and cannot be installed: no root, or no archive
 */
export async function ensureDebianPackages(names: readonly string[], options: EnsureOptions = {}): Promise<void> {
  const { backports = false } = options;
  const isThere = options.unless ?? (() => areInstalled(names));
  if (await isThere()) return;
  const command = `apt-get install --no-install-recommends ${backports ? "-t <release>-backports " : ""}${names.join(" ")}`;
  if (!isRoot) throw new DebianArchiveError(`Missing: ${names.join(", ")}. As root: ${command}`);
  const install = async (lists: readonly string[]): Promise<void> => {
    const release = backports ? ["-t", `${await releaseName()}-backports`] : [];
    await apt("apt-get", lists, ["install", "-y", "--no-install-recommends", ...release, ...names]);
    if (!(await isThere())) throw new Error(`${names.join(", ")}: installed, but not what was wanted`);
  };
  if (!backports) return withLists(names.join(", "), install);
  try {
    await install(await privateLists({ backports }));
  } catch (cause) {
    throw new DebianArchiveError(`${names.join(", ")} could not be installed from the backports.`, { cause });
  }
}

async function areInstalled(names: readonly string[]): Promise<boolean> {
  try {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a format of dpkg-query
    const { stdout } = await run("dpkg-query", ["-W", "-f", "${db:Status-Status}\n", ...names]);
    return stdout
      .trim()
      .split("\n")
      .every((status) => status === "installed");
  } catch {
    return false;
  }
}

async function releaseName(): Promise<string> {
  const name = /^VERSION_CODENAME=(\w+)$/m.exec(await readFile("/etc/os-release", "utf8"))?.[1];
  if (name === undefined) throw new Error("/etc/os-release does not tell the release's name");
  return name;
}
