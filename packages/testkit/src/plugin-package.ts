/**
 * The compliance suite of packages that are plugins: what the kernel and package managers rely on.
 *
 * @example
 * ```ts
 * // test/compliance.test.ts of the package
 * pluginPackageCompliance(import.meta.url);
 * ```
 *
 * @packageDocumentation
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import {
  type Constructor,
  type ExtensionPoint,
  extensionPointNames,
  findManifest,
  Kernel,
  type Plugin,
  type PluginManifest,
  type PluginRecord,
  pluginApi,
} from "@cpr/core";
import { container } from "@cpr/core/di";
import { CaseList, type ComplianceCase } from "./compliance-case.ts";
import { registerCases } from "./register-cases.ts";

interface PackageJson {
  readonly name: string;
  readonly version: string;
  readonly description?: string;
  readonly type?: string;
  readonly license?: string;
  readonly keywords?: readonly string[];
  readonly exports?: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly cpr?: PluginManifest;
}

/** A test that runs on sources sees the plugin's sources; one that runs on what was built, what was built. */
const conditions = import.meta.url.endsWith(".ts") ? ["source", "import", "default"] : ["node", "import", "default"];

/** The cases for the package that holds the module of that URL, as data. */
export function pluginPackageCases(moduleUrl: string): readonly ComplianceCase[] {
  const path = findManifest(dirname(fileURLToPath(moduleUrl)));
  assert.ok(path !== undefined, `no package.json at or above ${moduleUrl}`);
  const manifest = JSON.parse(readFileSync(path, "utf8")) as PackageJson;
  const folder = dirname(path);

  const cpr = (): PluginManifest => {
    assert.ok(manifest.cpr !== undefined, "package.json has no key 'cpr'");
    return manifest.cpr;
  };
  const targetOf = (subpath: string): string => {
    const entry = manifest.exports?.[subpath];
    assert.ok(entry !== undefined, `package.json does not export '${subpath}'`);
    const target = typeof entry === "string" ? entry : conditions.map((each) => entry[each]).find(Boolean);
    assert.ok(target !== undefined, `'${subpath}' has none of the conditions ${conditions.join(", ")}`);
    return join(folder, target);
  };
  const record = (): PluginRecord => ({
    name: manifest.name,
    version: manifest.version,
    description: manifest.description ?? "",
    path,
    module: pathToFileURL(targetOf(cpr().plugin)).href,
    manifest: cpr(),
  });
  const importPlugin = (query = ""): Promise<{ readonly default?: unknown }> =>
    import(/* @vite-ignore */ `${record().module}${query}`);
  const plugin = async (): Promise<Plugin> => (await importPlugin()).default as Plugin;

  return new CaseList()
    .add("has a manifest that the kernel takes", () => {
      const { api, plugin: subpath, provides } = cpr();
      assert.equal(api, pluginApi, "cpr.api");
      assert.match(subpath, /^\.\/./, "cpr.plugin");
      const entries = Object.entries(provides);
      assert.ok(entries.length > 0, "cpr.provides is empty");
      for (const [point, keys] of entries) {
        assert.ok((extensionPointNames as readonly string[]).includes(point), `cpr.provides.${point} is unknown`);
        assert.ok(keys.length > 0, `cpr.provides.${point} is empty`);
        assert.equal(new Set(keys).size, keys.length, `cpr.provides.${point} has a name twice`);
      }
    })
    .add("can be found by people", () => {
      assert.ok(manifest.keywords?.includes("cpr-plugin"), "the keyword 'cpr-plugin' is missing");
      assert.match(manifest.description ?? "", /\S/, "description");
      assert.match(manifest.license ?? "", /\S/, "license");
      assert.ok(existsSync(join(folder, "README.md")), "README.md is missing");
    })
    .add("is an ES module that exports its manifest, its types and its plugin", () => {
      assert.equal(manifest.type, "module");
      // Without this, the package cannot be found from the outside: Node refuses to resolve its package.json.
      assert.equal(manifest.exports?.["./package.json"], "./package.json");
      for (const subpath of [".", cpr().plugin]) {
        assert.ok(existsSync(targetOf(subpath)), `'${subpath}' leads to ${targetOf(subpath)}, which does not exist`);
      }
    })
    .add("shares the kernel's copy of @cpr/core and of the container", () => {
      assert.ok(manifest.peerDependencies?.["@cpr/core"] !== undefined, "@cpr/core is no peer dependency");
      for (const name of ["@cpr/core", "tsyringe", "reflect-metadata"]) {
        assert.equal(manifest.dependencies?.[name], undefined, `${name} is a dependency: there would be two copies`);
      }
    })
    .add("has a plugin of the package's name as its default export", async () => {
      const { name, setup } = await plugin();
      assert.equal(name, manifest.name);
      assert.equal(typeof setup, "function");
    })
    .add("contributes exactly what it says it provides", async () => {
      const kernel = new Kernel([record()], { importPlugin: () => importPlugin() });
      try {
        await kernel.loadAll();
      } finally {
        await kernel[Symbol.asyncDispose]();
      }
    })
    .add("contributes the same when it is set up again", async () => {
      const { setup } = await plugin();
      const contributions = () => {
        const list: [symbol, Constructor<unknown>][] = [];
        setup({
          contribute<T>(point: ExtensionPoint<T>, implementation: Constructor<T>) {
            list.push([point, implementation]);
          },
        });
        return list;
      };
      assert.deepEqual(contributions(), contributions());
    })
    .add("does nothing when it is imported", async () => {
      await importPlugin();
      const effects = () => ({
        globals: Object.getOwnPropertyNames(globalThis).sort(),
        listeners: process.eventNames().map((name) => [name, process.listenerCount(name)]),
        registered: extensionPointNames.filter((name) => container.isRegistered(Symbol.for(`cpr:${name}`))),
        environment: { ...process.env },
        folder: process.cwd(),
      });
      const before = effects();
      // Another query is another module: the code at its top level runs once more.
      await importPlugin("?imported-again");
      assert.deepEqual(effects(), before);
    }).cases;
}

/** Registers the suite of plugin packages for the package that holds the module of that URL. */
export function pluginPackageCompliance(moduleUrl: string): void {
  registerCases("plugin package", pluginPackageCases(moduleUrl));
}
