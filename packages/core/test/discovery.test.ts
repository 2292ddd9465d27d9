import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { discoverPlugins, findManifest, Kernel, Transport } from "../src/index.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "cpr-discovery-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

interface PackageOptions {
  readonly dependencies?: readonly string[];
  readonly optional?: readonly string[];
  /** Under `cpr.provides.transport`; not a plugin if undefined. */
  readonly provides?: readonly string[];
  readonly cpr?: unknown;
  readonly exports?: Record<string, string>;
}

/** Makes a package in a folder under the temporary one, and returns the path of its manifest. */
function makePackage(place: string, name: string, options: PackageOptions = {}): string {
  const root = join(folder, place);
  mkdirSync(root, { recursive: true });
  const { provides, dependencies = [], optional = [] } = options;
  const cpr =
    options.cpr ??
    (provides === undefined ? undefined : { api: 1, plugin: "./plugin", provides: { transport: provides } });
  const manifest = {
    name,
    version: "1.2.3",
    description: `the package ${name}`,
    type: "module",
    exports: options.exports ?? { "./plugin": "./plugin.js", "./package.json": "./package.json" },
    dependencies: Object.fromEntries(dependencies.map((each) => [each, "*"])),
    optionalDependencies: Object.fromEntries(optional.map((each) => [each, "*"])),
    ...(cpr === undefined ? {} : { cpr }),
  };
  writeFileSync(join(root, "package.json"), JSON.stringify(manifest));
  const classes = (provides ?? []).map(
    (scheme) => `context.contribute(Symbol.for("cpr:transport"), class { scheme = "${scheme}" });`,
  );
  writeFileSync(
    join(root, "plugin.js"),
    `globalThis.loadedPlugins = [...(globalThis.loadedPlugins ?? []), "${name}"];
     export default { name: "${name}", setup(context) { ${classes.join("\n")} } };`,
  );
  return join(root, "package.json");
}

const names = (options: Parameters<typeof discoverPlugins>[0]): string[] =>
  discoverPlugins(options).map(({ name }) => name);

describe("discovery", () => {
  it("finds the plugins among the application's dependencies and theirs, what is needed first", async () => {
    const application = makePackage("app", "app", {
      dependencies: ["lib", "plugin-a"],
      optional: ["plugin-c", "absent"],
    });
    makePackage("app/node_modules/lib", "lib", { dependencies: ["hidden"] });
    makePackage("app/node_modules/hidden", "hidden", { provides: ["hidden"] });
    makePackage("app/node_modules/plugin-a", "plugin-a", { provides: ["a"], dependencies: ["plugin-b"] });
    makePackage("app/node_modules/plugin-b", "plugin-b", { provides: ["b"], dependencies: ["plugin-a"] });
    makePackage("app/node_modules/plugin-c", "plugin-c", { provides: ["c"] });
    const plugins = discoverPlugins({ application });
    expect(plugins.map(({ name }) => name)).toEqual(["plugin-b", "plugin-a", "plugin-c"]);
    expect(plugins[1]).toEqual({
      name: "plugin-a",
      version: "1.2.3",
      description: "the package plugin-a",
      path: join(folder, "app/node_modules/plugin-a/package.json"),
      module: pathToFileURL(join(folder, "app/node_modules/plugin-a/plugin.js")).href,
      manifest: { api: 1, plugin: "./plugin", provides: { transport: ["a"] } },
    });
    expect((globalThis as { loadedPlugins?: string[] }).loadedPlugins).toBeUndefined();
    await using kernel = new Kernel(plugins);
    expect((await kernel.get(Transport, "b")).scheme).toBe("b");
    expect((globalThis as { loadedPlugins?: string[] }).loadedPlugins).toEqual(["plugin-b"]);
  });

  it("searches the project's folder too, if it has a manifest", () => {
    const application = makePackage("app", "app", { dependencies: ["plugin-a"] });
    makePackage("app/node_modules/plugin-a", "plugin-a", { provides: ["a"] });
    makePackage("project", "project", { dependencies: ["plugin-a", "plugin-p"] });
    makePackage("project/node_modules/plugin-a", "plugin-a", { provides: ["other"] });
    makePackage("project/node_modules/plugin-p", "plugin-p", { provides: ["p"] });
    expect(names({ application })).toEqual(["plugin-a"]);
    const found = discoverPlugins({ application, project: join(folder, "project") });
    expect(found.map(({ name }) => name)).toEqual(["plugin-a", "plugin-p"]);
    expect(found[0]?.manifest.provides.transport).toEqual(["a"]);
    expect(names({ application, project: folder })).toEqual(["plugin-a"]);
  });

  it("takes plugins that are named, by name or by path, before all others", () => {
    const application = makePackage("app", "app", { dependencies: ["plugin-a"] });
    makePackage("app/node_modules/plugin-a", "plugin-a", { provides: ["a"] });
    makePackage("app/node_modules/plugin-x", "plugin-x", { provides: ["x"] });
    const own = makePackage("mine", "plugin-a", { provides: ["mine"] });
    const options = { application, project: folder };
    expect(names({ ...options, plugins: ["plugin-x"] })).toEqual(["plugin-x", "plugin-a"]);
    for (const path of ["./mine", dirname(own), own]) {
      expect(
        discoverPlugins({ ...options, plugins: [path] }).map(({ manifest }) => manifest.provides.transport),
      ).toEqual([["mine"]]);
    }
  });

  it("follows links, as in a workspace, and finds a package once", () => {
    const application = makePackage("app", "app", { dependencies: ["plugin-a", "plugin-b"] });
    makePackage("store/plugin-a", "plugin-a", { provides: ["a"] });
    makePackage("store/plugin-b", "plugin-b", { provides: ["b"], dependencies: ["plugin-a"] });
    for (const place of ["app/node_modules", "store/plugin-b/node_modules"]) {
      mkdirSync(join(folder, place), { recursive: true });
    }
    symlinkSync(join(folder, "store/plugin-a"), join(folder, "app/node_modules/plugin-a"));
    symlinkSync(join(folder, "store/plugin-b"), join(folder, "app/node_modules/plugin-b"));
    symlinkSync(join(folder, "store/plugin-a"), join(folder, "store/plugin-b/node_modules/plugin-a"));
    expect(names({ application })).toEqual(["plugin-a", "plugin-b"]);
  });

  it("refuses a plugin that is named but not there, or is none", () => {
    const application = makePackage("app", "app");
    makePackage("app/node_modules/lib", "lib");
    const refuse = (plugin: string, code: string, message: string) =>
      expect(() => discoverPlugins({ application, project: folder, plugins: [plugin] })).toThrow(
        expect.objectContaining({ code, message: expect.stringContaining(message) }) as Error,
      );
    refuse("absent", "ERR_CPR_PLUGIN_NOT_FOUND", "Plugin 'absent' was not found");
    refuse("./absent", "ERR_CPR_PLUGIN_NOT_FOUND", "Plugin './absent' was not found");
    refuse("lib", "ERR_CPR_PLUGIN_MANIFEST", "The manifest of plugin 'lib'");
  });

  it.each<[string, unknown, string]>([
    ["is a text", "yes", "has no key 'cpr'"],
    ["has no version", { plugin: "./plugin", provides: {} }, "has no integer 'cpr.api'"],
    ["has another version", { api: 2 }, "speaks version 2 of the plugin contract"],
    ["names no module", { api: 1, provides: {} }, "has no 'cpr.plugin'"],
    ["names a module that is not exported", { api: 1, plugin: "./other", provides: {} }, "names the subpath './other'"],
    ["provides nothing", { api: 1, plugin: "./plugin" }, "has no object 'cpr.provides'"],
    [
      "provides something unknown",
      { api: 1, plugin: "./plugin", provides: { wings: ["a"] } },
      "provides the unknown kind 'wings'",
    ],
    ["lists no names", { api: 1, plugin: "./plugin", provides: { transport: [1] } }, "does not list names"],
    ["lists a name twice", { api: 1, plugin: "./plugin", provides: { transport: ["a", "a"] } }, "lists a name twice"],
  ])("refuses a plugin whose key %s, and names it", (_what, cpr, problem) => {
    const application = makePackage("app", "app", { dependencies: ["plugin-a"] });
    makePackage("app/node_modules/plugin-a", "plugin-a", { cpr });
    expect(() => discoverPlugins({ application })).toThrow(/plugin-a/);
    expect(() => discoverPlugins({ application })).toThrow(problem);
  });

  it("refuses a manifest that is not JSON", () => {
    const application = makePackage("app", "app", { dependencies: ["plugin-a"] });
    const broken = makePackage("app/node_modules/plugin-a", "plugin-a", { provides: ["a"] });
    writeFileSync(broken, "{");
    expect(() => discoverPlugins({ application })).toThrow(
      expect.objectContaining({ code: "ERR_CPR_PLUGIN_MANIFEST" }) as Error,
    );
  });

  it("finds the manifest of a folder", () => {
    const application = makePackage("app", "app");
    mkdirSync(join(folder, "app/src/deep"), { recursive: true });
    expect(findManifest(join(folder, "app/src/deep"))).toBe(application);
    expect(findManifest("/")).toBeUndefined();
  });
});
