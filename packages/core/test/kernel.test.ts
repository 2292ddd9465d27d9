import "../src/di.ts";
import { describe, expect, it } from "vitest";
import { inject, injectable } from "../src/di.ts";
import {
  Backend,
  type Constructor,
  definePlugin,
  type ExtensionPoint,
  Kernel,
  MigrationMode,
  type Plugin,
  type PluginManifest,
  type PluginRecord,
  Transport,
} from "../src/index.ts";

const record = (name: string, provides: PluginManifest["provides"], api = 1): PluginRecord => ({
  name,
  version: "1.0.0",
  description: "",
  path: `/${name}/package.json`,
  module: `file:///${name}/plugin.js`,
  manifest: { api, plugin: "./plugin", provides },
});

/** A class of transports of a scheme. */
function transport(scheme: string, log: string[] = []): Constructor<Transport> {
  return class {
    readonly scheme = scheme;
    readonly supports = { stores: true, seekable: true, parallel: false, passesDescriptors: false };
    constructor() {
      log.push(`made ${scheme}`);
    }
    openSink = () => Promise.reject(new Error());
    openSource = () => Promise.reject(new Error());
    async [Symbol.asyncDispose]() {
      await Promise.resolve();
      log.push(`disposed ${scheme}`);
    }
  } as unknown as Constructor<Transport>;
}

const contributing = (name: string, ...classes: Constructor<Transport>[]): Plugin =>
  definePlugin({
    name,
    setup(context) {
      for (const each of classes) {
        context.contribute(Transport, each);
      }
    },
  });

function kernelOf(plugins: readonly [PluginRecord, unknown][], imported: string[] = []): Kernel {
  const modules = new Map(plugins.map(([each, plugin]) => [each.name, plugin]));
  return new Kernel(
    plugins.map(([each]) => each),
    {
      importPlugin: async ({ name }) => {
        imported.push(name);
        const plugin = modules.get(name);
        if (plugin instanceof Error) {
          throw plugin;
        }
        return { default: plugin };
      },
    },
  );
}

describe("the kernel", () => {
  it("loads only the plugin that is asked for, once, and makes one instance", async () => {
    const imported: string[] = [];
    const log: string[] = [];
    const kernel = kernelOf(
      [
        [record("a", { transport: ["one", "two"] }), contributing("a", transport("one", log), transport("two", log))],
        [record("b", { transport: ["three"] }), contributing("b", transport("three", log))],
      ],
      imported,
    );
    expect(kernel.keys(Transport)).toEqual(["one", "two", "three"]);
    expect(kernel.has(Transport, "three")).toBe(true);
    expect(kernel.has(Backend, "three")).toBe(false);
    expect(kernel.contributions().map(({ point, key, plugin }) => `${plugin.name}: ${point} ${key}`)).toEqual([
      "a: transport one",
      "a: transport two",
      "b: transport three",
    ]);
    expect(imported).toEqual([]);
    const [one, again] = await Promise.all([kernel.get(Transport, "one"), kernel.get(Transport, "one")]);
    expect(one.scheme).toBe("one");
    expect(again).toBe(one);
    expect(imported).toEqual(["a"]);
    const all = await kernel.all(Transport);
    expect(all.map(({ scheme }) => scheme)).toEqual(["one", "two", "three"]);
    expect(all[0]).toBe(one);
    expect(imported).toEqual(["a", "b"]);
    expect(log).toEqual(["made one", "made two", "made three"]);
    await kernel[Symbol.asyncDispose]();
    expect(log.slice(3)).toEqual(["disposed three", "disposed two", "disposed one"]);
  });

  it("keeps instances apart from those of another kernel", async () => {
    const plugins = (): [PluginRecord, unknown][] => [[record("a", { transport: ["one"] }), contributing("a", Shared)]];
    const Shared = transport("one");
    const [first, second] = [kernelOf(plugins()), kernelOf(plugins())];
    expect(await first.get(Transport, "one")).not.toBe(await second.get(Transport, "one"));
  });

  it("injects what a plugin's class asks for by its extension point", async () => {
    const Point: ExtensionPoint<Transport> = Transport;
    class Mode {
      readonly name = "mode";
      readonly summary = "a mode";
      readonly transport: Transport;
      constructor(given: Transport) {
        this.transport = given;
      }
      judgeOutgoing = () => [];
      judgeIncoming = () => [];
      keepsInPlace = () => false;
    }
    inject(Point)(Mode, undefined, 0);
    injectable()(Mode);
    const kernel = kernelOf([
      [record("a", { transport: ["one"] }), contributing("a", transport("one"))],
      [
        record("b", { "migration-mode": ["mode"] }),
        definePlugin({ name: "b", setup: (context) => context.contribute(MigrationMode, Mode) }),
      ],
    ]);
    const one = await kernel.get(Transport, "one");
    expect((await kernel.get(MigrationMode, "mode")) as unknown).toMatchObject({ transport: one });
  });

  it("names both plugins of a conflict before any of their code has run", () => {
    const imported: string[] = [];
    expect(() =>
      kernelOf(
        [
          [record("a", { transport: ["one"] }), contributing("a")],
          [record("b", { transport: ["one"] }), contributing("b")],
        ],
        imported,
      ),
    ).toThrow(
      expect.objectContaining({
        code: "ERR_CPR_PLUGIN_CONFLICT",
        message: "Plugins 'a' and 'b' both provide the transport 'one'",
      }) as Error,
    );
    expect(imported).toEqual([]);
  });

  it.each([
    [2, "Update cpr."],
    [0, "Update the plugin: `npm install a@latest`."],
  ])("refuses a plugin for version %i of the contract", (api, hint) => {
    expect(() => kernelOf([[record("a", {}, api), contributing("a")]])).toThrow(
      expect.objectContaining({
        code: "ERR_CPR_PLUGIN_API",
        message: `Plugin 'a' speaks version ${api} of the plugin contract, but this is version 1`,
        hint,
      }) as Error,
    );
  });

  const throwing = class {
    constructor() {
      throw new Error("no luck");
    }
  } as unknown as Constructor<Transport>;
  const setupThrows = definePlugin({
    name: "a",
    setup() {
      throw new Error("no luck");
    },
  });

  it.each<[string, unknown, string, string]>([
    [
      "cannot be imported",
      new Error("no such module"),
      "ERR_CPR_PLUGIN_LOAD",
      "Plugin 'a' could not be loaded: no such module",
    ],
    [
      "exports nothing",
      undefined,
      "ERR_CPR_PLUGIN_LOAD",
      "Plugin 'a' could not be loaded: its default export is not a plugin; use definePlugin()",
    ],
    [
      "exports something else",
      { setup: 1 },
      "ERR_CPR_PLUGIN_LOAD",
      "Plugin 'a' could not be loaded: its default export is not a plugin; use definePlugin()",
    ],
    [
      "is another one",
      contributing("b", transport("one")),
      "ERR_CPR_PLUGIN_LOAD",
      "Plugin 'a' could not be loaded: its module says that it is 'b'",
    ],
    ["throws in setup", setupThrows, "ERR_CPR_PLUGIN_SETUP", "Plugin 'a' failed to start: no luck"],
    [
      "throws in a constructor",
      contributing("a", throwing),
      "ERR_CPR_PLUGIN_SETUP",
      "Plugin 'a' failed to start: no luck",
    ],
    [
      "does not contribute what it lists",
      contributing("a"),
      "ERR_CPR_PLUGIN_PROMISE",
      "Plugin 'a' does not keep its promise: it lists transport 'one' but does not contribute it",
    ],
    [
      "contributes what it does not list",
      contributing("a", transport("one"), transport("two")),
      "ERR_CPR_PLUGIN_PROMISE",
      "Plugin 'a' does not keep its promise: it contributes transport 'two' but does not list it",
    ],
    [
      "contributes one thing twice",
      contributing("a", transport("one"), transport("one")),
      "ERR_CPR_PLUGIN_CONFLICT",
      "Plugins 'a' and 'a' both provide the transport 'one'",
    ],
  ])("names a plugin that %s", async (_what, plugin, code, message) => {
    const kernel = kernelOf([[record("a", { transport: ["one"] }), plugin]]);
    await expect(kernel.get(Transport, "one")).rejects.toMatchObject({ code, message });
    await expect(kernel.all(Transport)).rejects.toMatchObject({ code });
    await expect(kernel.loadAll()).rejects.toMatchObject({ code });
  });

  it("says what there is when something is asked for that nobody provides", async () => {
    const kernel = kernelOf([[record("a", { transport: ["one", "two"] }), contributing("a")]]);
    await expect(kernel.get(Transport, "three")).rejects.toMatchObject({
      code: "ERR_CPR_NO_TRANSPORT",
      hint: "Known: one, two.",
    });
    await expect(kernel.get(Backend, "kvm")).rejects.toMatchObject({
      code: "ERR_CPR_NO_BACKEND",
      message: "invalid accelerator kvm",
      hint: "No plugin that provides an execution backend is installed.",
    });
  });
});
