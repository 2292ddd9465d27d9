import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { cachedFolder } from "./cached-folder.ts";
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

/** The parts of package sources, in deb822 or one-line style, that have binary packages of a release, its updates included. */
export const sourcesOfRelease = (text: string, release: string): string =>
  text
    .split(/\n(?:[^\S\n]*\n)+/)
    .flatMap((paragraph) => (/^Types:/m.test(paragraph) ? [`${paragraph.trim()}\n\n`] : `${paragraph}\n`.split(/^/m)))
    .filter((each) =>
      each.startsWith("deb ")
        ? new RegExp(`^deb\\s+(?:\\[.*?\\]\\s+)?\\S+\\s+${release}(?:-\\S+|/\\S*)?\\s`).test(each)
        : /^Types:.*\bdeb\b(?!-)/m.test(each) && new RegExp(`^Suites:.*\\b${release}\\b`, "m").test(each),
    )
    .join("");

/**
 * Writes the system's package sources that have its own release into `folder`, and what the system's apt is told of how to fetch:
 * for programs that make a system of their own.
 *
 * @returns the paths of the sources, and that of the configuration
 */
export async function writeReleaseSources(folder: string): Promise<{ sources: string[]; configuration: string }> {
  const release = await releaseName();
  const sources: string[] = [];
  for (const { name, text } of await systemSources()) {
    const own = sourcesOfRelease(text, release);
    if (own === "") continue;
    sources.push(join(folder, name));
    await writeFile(join(folder, name), own);
  }
  const configuration = join(folder, "apt.conf");
  const { stdout } = await run("apt-config", ["dump", "Acquire"]);
  await writeFile(configuration, `${stdout}APT::Sandbox::User "root";\n`);
  return { sources, configuration };
}

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

/** Where packages are to come from. */
export interface PackageSource {
  /** Take them from `<release>-backports`, with the mirrors and keys that the system has configured. */
  readonly backports?: boolean;
}

/** Runs `attempt` with the system's package lists, and if that fails, or for backports, with fresh ones of our own. */
async function withLists<T>(
  what: string,
  { backports = false }: PackageSource,
  attempt: (options: readonly string[]) => Promise<T>,
): Promise<T> {
  if (!backports) {
    try {
      return await attempt([]);
    } catch {
      // The lists may be missing, or older than the archive; fresh ones decide.
    }
  }
  try {
    const release = backports ? ["-t", `${await releaseName()}-backports`] : [];
    return await attempt([...(await privateLists({ backports })), ...release]);
  } catch (cause) {
    const archive = backports ? "Debian archive with backports" : "Debian archive";
    throw new DebianArchiveError(`No ${archive} could be reached to fetch ${what}.`, { cause });
  }
}

/** The first package that `name` depends on and whose name matches `pattern`, as the metapackages for kernels do. */
export const dependencyOf = (name: string, pattern: RegExp, source: PackageSource = {}): Promise<string> =>
  withLists(name, source, async (options) => {
    const output = await apt("apt-cache", options, ["depends", "--important", name]);
    const found = [...output.matchAll(/Depends: (\S+)/g)]
      .map((match) => match[1] ?? "")
      .find((each) => pattern.test(each));
    if (found === undefined) throw new Error(`${name} depends on nothing that matches ${pattern}: ${output}`);
    return found;
  });

/** What {@link unpackDebianPackages} may be told. */
export interface UnpackOptions extends PackageSource {
  /** All that the packages depend on as well, whatever is installed here. */
  readonly dependencies?: boolean;
}

/**
 * Downloads packages and unpacks them into `folder`, which must exist. Nothing is installed; root is not needed.
 *
 * @throws {DebianArchiveError} when no archive has them or none can be reached
 */
export async function unpackDebianPackages(
  names: readonly string[],
  folder: string,
  { dependencies = false, ...source }: UnpackOptions = {},
): Promise<void> {
  await mkdir(cache, { recursive: true });
  const downloads = await mkdtemp(join(cache, "download-"));
  try {
    // Where nothing is installed, to install something takes all that it depends on.
    const nothing = join(downloads, "status");
    await writeFile(nothing, "");
    await mkdir(join(downloads, "partial"));
    const apart = ["Debug::NoLocking=1", `Dir::State::status=${nothing}`, `Dir::Cache::archives=${downloads}`];
    const command = dependencies
      ? [...apart.flatMap((each) => ["-o", each]), "install", "-y", "--download-only", "--no-install-recommends"]
      : ["download"];
    await withLists(names.join(", "), source, (options) => apt("apt-get", options, [...command, ...names], downloads));
    const files = (await readdir(downloads)).filter((each) => each.endsWith(".deb"));
    if (files.length < names.length)
      throw new DebianArchiveError(`apt-get left no package behind: ${names.join(", ")}`);
    for (const file of files) await run("dpkg", ["-x", join(downloads, file), folder]);
  } finally {
    await rm(downloads, { recursive: true, force: true });
  }
}

/**
 * A folder of the cache with packages unpacked in it, fetched the first time.
 *
 * @throws {DebianArchiveError} the first time, when no archive has them or none can be reached
 */
export const cachedDebianPackages = (
  folder: string,
  names: readonly string[],
  options?: UnpackOptions,
): Promise<string> => cachedFolder(folder, (temporary) => unpackDebianPackages(names, temporary, options));

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
export interface EnsureOptions extends PackageSource {
  /** Programs that are there when the packages are: nothing is done when all are found, whatever installed them. */
  readonly unless?: () => boolean | Promise<boolean>;
}

/**
 * Installs Debian packages that a test or a bench needs, when they are not there yet.
 *
 * @throws {DebianArchiveError} when they are missing and cannot be installed: no root, or no archive
 */
export async function ensureDebianPackages(names: readonly string[], options: EnsureOptions = {}): Promise<void> {
  const isThere = options.unless ?? (() => areInstalled(names));
  if (await isThere()) return;
  const release = options.backports ? "-t <release>-backports " : "";
  const command = `apt-get install --no-install-recommends ${release}${names.join(" ")}`;
  if (!isRoot) throw new DebianArchiveError(`Missing: ${names.join(", ")}. As root: ${command}`);
  await withLists(names.join(", "), options, async (lists) => {
    await apt("apt-get", lists, ["install", "-y", "--no-install-recommends", ...names]);
    if (!(await isThere())) throw new Error(`${names.join(", ")}: installed, but not what was wanted`);
  });
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

/** The name of the system's Debian release, e.g. `bookworm`: what all packages are of that come from its sources. */
export async function releaseName(): Promise<string> {
  const name = /^VERSION_CODENAME=(\w+)$/m.exec(await readFile("/etc/os-release", "utf8"))?.[1];
  if (name === undefined) throw new Error("/etc/os-release does not tell the release's name");
  return name;
}
