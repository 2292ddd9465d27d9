import { existsSync, readFileSync, realpathSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { pluginErrors } from "./errors/plugin-errors.ts";
import { extensionPointNames } from "./kernel.ts";
import { type PluginManifest, pluginApi } from "./plugin.ts";
import type { PluginRecord } from "./plugin-record.ts";

/** Where to look for plugins. */
export interface DiscoveryOptions {
  /** Path of the application's own `package.json`: the dependencies found there are the built-in plugins. */
  readonly application: string;
  /** A folder; the dependencies in its `package.json`, if it has one, are searched too. */
  readonly project?: string;
  /** Names of packages, or paths of folders, which are absolute or begin with a dot. They must be plugins. */
  readonly plugins?: readonly string[];
}

interface PackageJson {
  readonly name?: unknown;
  readonly version?: unknown;
  readonly description?: unknown;
  readonly cpr?: unknown;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/**
 * Finds plugins by walking the dependencies of the named manifests, and of every plugin on the way. Of two packages
 * with the same name the first one counts: those named explicitly come first, then the application's.
 *
 * No code of a plugin runs.
 *
 * @throws {CprError} ERR_CPR_PLUGIN_MANIFEST or ERR_CPR_PLUGIN_NOT_FOUND.
 */
export function discoverPlugins(options: DiscoveryOptions): readonly PluginRecord[] {
  const walk = new DependencyWalk();
  const project = resolve(options.project ?? ".");
  for (const plugin of options.plugins ?? []) {
    walk.visit(findExplicit(plugin, project, options.application), true);
  }
  walk.descend(options.application);
  const projectManifest = join(project, "package.json");
  if (options.project !== undefined && isFile(projectManifest)) {
    walk.descend(projectManifest);
  }
  return [...walk.found.values()];
}

/** Collects plugins in post-order: what a plugin depends on comes before it. */
class DependencyWalk {
  readonly found = new Map<string, PluginRecord>();
  readonly #visited = new Set<string>();

  /** Looks at all dependencies of the package of that manifest. */
  descend(manifestPath: string): void {
    const { dependencies, optionalDependencies } = readPackage(manifestPath);
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
      const path = findInstalled(name, dirname(manifestPath));
      // One that is not installed is no plugin.
      if (path !== undefined) {
        this.visit(path, false);
      }
    }
  }

  visit(manifestPath: string, demanded: boolean): void {
    if (this.#visited.has(manifestPath)) {
      return;
    }
    this.#visited.add(manifestPath);
    const content = readPackage(manifestPath);
    if (content.cpr === undefined && !demanded) {
      return;
    }
    const record = recordOf(manifestPath, content);
    this.descend(manifestPath);
    if (!this.found.has(record.name)) {
      this.found.set(record.name, record);
    }
  }
}

function findExplicit(plugin: string, project: string, application: string): string {
  if (plugin.startsWith(".") || isAbsolute(plugin)) {
    const path = resolve(project, plugin);
    const manifest = path.endsWith("package.json") ? path : join(path, "package.json");
    if (!isFile(manifest)) {
      throw pluginErrors.ERR_CPR_PLUGIN_NOT_FOUND({ plugin, from: project });
    }
    return manifest;
  }
  for (const from of [join(project, "package.json"), application]) {
    try {
      return createRequire(from).resolve(`${plugin}/package.json`);
    } catch {
      // Looked for in the next place.
    }
  }
  throw pluginErrors.ERR_CPR_PLUGIN_NOT_FOUND({ plugin, from: project });
}

/**
 * The manifest of an installed package: in `node_modules` of the folder or of one above it, links followed.
 *
 * NOTE: `require.resolve` does the same and more, but takes milliseconds for packages that do not export their manifest.
 */
function findInstalled(name: string, folder: string): string | undefined {
  const path = join(folder, "node_modules", name, "package.json");
  if (existsSync(path)) {
    return realpathSync.native(path);
  }
  const parent = dirname(folder);
  return parent === folder ? undefined : findInstalled(name, parent);
}

function readPackage(path: string): PackageJson {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as PackageJson;
  } catch (error) {
    throw unreadable(path, error);
  }
}

function unreadable(manifest: string, cause: unknown): Error {
  const problem = `cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`;
  return pluginErrors.ERR_CPR_PLUGIN_MANIFEST({ plugin: manifest, manifest, problem }, { cause });
}

function recordOf(path: string, content: PackageJson): PluginRecord {
  const plugin = typeof content.name === "string" ? content.name : path;
  const refuse = (problem: string) => pluginErrors.ERR_CPR_PLUGIN_MANIFEST({ plugin, manifest: path, problem });
  if (typeof content.name !== "string") {
    throw refuse("has no name");
  }
  const manifest = checkManifest(plugin, content.cpr, refuse);
  let module: string;
  try {
    module = createRequire(path).resolve(join(content.name, manifest.plugin));
  } catch (error) {
    throw pluginErrors.ERR_CPR_PLUGIN_MANIFEST(
      { plugin, manifest: path, problem: `names the subpath '${manifest.plugin}', which cannot be resolved` },
      { cause: error },
    );
  }
  return {
    name: content.name,
    version: String(content.version ?? "0.0.0"),
    description: String(content.description ?? ""),
    path,
    module: pathToFileURL(module).href,
    manifest,
  };
}

function checkManifest(name: string, value: unknown, refuse: (problem: string) => Error): PluginManifest {
  if (typeof value !== "object" || value === null) {
    throw refuse("has no key 'cpr'");
  }
  const { api, plugin, provides } = value as Record<string, unknown>;
  if (typeof api !== "number" || !Number.isInteger(api)) {
    throw refuse("has no integer 'cpr.api'");
  }
  if (api !== pluginApi) {
    // The rest may look different in that version.
    throw pluginErrors.ERR_CPR_PLUGIN_API({ plugin: name, api, supported: pluginApi });
  }
  if (typeof plugin !== "string" || !plugin.startsWith("./")) {
    throw refuse("has no 'cpr.plugin' that begins with './'");
  }
  if (typeof provides !== "object" || provides === null || Array.isArray(provides)) {
    throw refuse("has no object 'cpr.provides'");
  }
  for (const [point, keys] of Object.entries(provides)) {
    if (!(extensionPointNames as readonly string[]).includes(point)) {
      throw refuse(`provides the unknown kind '${point}'; known are ${extensionPointNames.join(", ")}`);
    }
    if (!Array.isArray(keys) || keys.some((key) => typeof key !== "string" || key === "")) {
      throw refuse(`does not list names under 'cpr.provides.${point}'`);
    }
    if (new Set(keys).size !== keys.length) {
      throw refuse(`lists a name twice under 'cpr.provides.${point}'`);
    }
  }
  return value as PluginManifest;
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

/** The nearest `package.json` at or above a folder, as an application finds its own. */
export function findManifest(folder: string): string | undefined {
  const manifest = join(folder, "package.json");
  if (isFile(manifest)) {
    return manifest;
  }
  const parent = dirname(folder);
  return parent === folder ? undefined : findManifest(parent);
}
