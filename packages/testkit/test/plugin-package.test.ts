import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, test } from "vitest";
import { pluginPackageCases } from "../src/plugin-package.ts";
import { failingCases } from "./failing-cases.ts";

const folders: string[] = [];

afterEach(() => {
  for (const folder of folders.splice(0)) {
    rmSync(folder, { recursive: true });
  }
});

const manifest = {
  name: "cpr-transport-test",
  version: "1.0.0",
  description: "A transport for tests.",
  license: "Apache-2.0",
  type: "module",
  keywords: ["cpr-plugin"],
  exports: { ".": "./index.js", "./plugin": "./plugin.js", "./package.json": "./package.json" },
  peerDependencies: { "@cpr/core": "^0.1.0" },
  cpr: { api: 1, plugin: "./plugin", provides: { transport: ["test"] } },
};

/** A plugin without an import, so that it works wherever it lies: the extension point is its symbol. */
const plugin = `
class TestTransport { scheme = "test"; }
export default {
  name: "cpr-transport-test",
  setup(context) { context.contribute(Symbol.for("cpr:transport"), TestTransport); },
};`;

interface Package {
  readonly manifest?: object;
  readonly plugin?: string;
  readonly without?: string;
}

/** The failing cases of a package that is good but for the given parts. */
async function failing(parts: Package = {}): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), "plugin-package-"));
  folders.push(folder);
  mkdirSync(join(folder, "test"));
  for (const [name, text] of Object.entries({
    "package.json": JSON.stringify({ ...manifest, ...parts.manifest }),
    "plugin.js": parts.plugin ?? plugin,
    "index.js": "export {};",
    "README.md": "# A transport for tests",
  })) {
    if (name !== parts.without) {
      writeFileSync(join(folder, name), text);
    }
  }
  return failingCases(pluginPackageCases(pathToFileURL(join(folder, "test", "compliance.test.ts")).href));
}

const takes = "has a manifest that the kernel takes";
const found = "can be found by people";
const exports = "is an ES module that exports its manifest, its types and its plugin";
const shares = "shares the kernel's copy of @cpr/core and of the container";
const named = "has a plugin of the package's name as its default export";
const contributes = "contributes exactly what it says it provides";
const again = "contributes the same when it is set up again";
const idle = "does nothing when it is imported";

describe("the suite of plugin packages", () => {
  test("passes a good one", async () => {
    expect(await failing()).toEqual([]);
  });

  test.each<[string, Package, string[]]>([
    [
      "speaks another version of the contract",
      { manifest: { cpr: { ...manifest.cpr, api: 2 } } },
      [takes, contributes],
    ],
    [
      "provides a kind that does not exist",
      { manifest: { cpr: { ...manifest.cpr, provides: { teapot: ["test"] } } } },
      [takes, contributes],
    ],
    ["has no keyword", { manifest: { keywords: [] } }, [found]],
    ["has no README", { without: "README.md" }, [found]],
    ["is CommonJS by its manifest", { manifest: { type: "commonjs" } }, [exports]],
    ["hides its manifest", { manifest: { exports: { ".": "./index.js", "./plugin": "./plugin.js" } } }, [exports]],
    ["exports a file that does not exist", { without: "index.js" }, [exports]],
    ["brings its own core", { manifest: { dependencies: { "@cpr/core": "*" } } }, [shares]],
    ["brings its own container", { manifest: { dependencies: { tsyringe: "*" } } }, [shares]],
    ["has no peer dependency", { manifest: { peerDependencies: {} } }, [shares]],
    ["has another name inside", { plugin: plugin.replace('"cpr-transport-test"', '"other"') }, [named, contributes]],
    [
      "provides less than it says",
      { manifest: { cpr: { ...manifest.cpr, provides: { transport: ["test", "more"] } } } },
      [contributes],
    ],
    ["contributes under another key", { plugin: plugin.replace('scheme = "test"', 'scheme = "other"') }, [contributes]],
    [
      "throws when it is set up",
      { plugin: plugin.replace("setup(context) {", 'setup(context) { throw new Error("no");') },
      [contributes, again],
    ],
    ["writes a global when it is imported", { plugin: `${plugin}\nglobalThis["leak" + Math.random()] = 1;` }, [idle]],
    ["listens for signals when it is imported", { plugin: `${plugin}\nprocess.on("SIGUSR2", () => {});` }, [idle]],
  ])("notices a package that %s", async (_label, parts, noticedBy) => {
    expect(await failing(parts)).toEqual(noticedBy);
  });
});
