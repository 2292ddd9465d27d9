import { type DependencyContainer, Lifecycle, container as rootContainer } from "./di.ts";
import { blockErrors } from "./errors/block-errors.ts";
import { networkErrors } from "./errors/network-errors.ts";
import { pluginErrors } from "./errors/plugin-errors.ts";
import type { Constructor, ExtensionPoint, ExtensionPointName, Plugin } from "./plugin.ts";
import { pluginApi } from "./plugin.ts";
import type { PluginRecord } from "./plugin-record.ts";

/** All extension points, in the order in which they are listed to people. */
export const extensionPointNames = [
  "backend",
  "memory-provider",
  "transport",
  "migration-mode",
  "migration-blocker",
  "device-model",
  "block-driver",
  "network-backend",
  "machine",
  "monitor-command",
  "host-check",
] as const satisfies readonly ExtensionPointName[];

/** Something that a plugin says it provides. */
export interface Contribution {
  readonly point: ExtensionPointName;
  readonly key: string;
  readonly plugin: PluginRecord;
}

export interface KernelOptions {
  /** Imports a plugin's module; `import()` of {@link PluginRecord.module} unless a test has the module at hand. */
  readonly importPlugin?: (plugin: PluginRecord) => Promise<{ readonly default?: unknown }>;
}

interface LoadedPlugin {
  /** By extension point and key. */
  readonly instances: ReadonlyMap<string, unknown>;
}

const nameOf = (point: ExtensionPoint<unknown>): ExtensionPointName =>
  (Symbol.keyFor(point) as string).slice("cpr:".length) as ExtensionPointName;

const place = (point: ExtensionPointName, key: string): string => `${point} '${key}'`;

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/**
 * Joins plugins: knows from their manifests what each provides, loads one when something of it is first asked for,
 * and keeps one instance of each contribution.
 *
 * @example
 * ```ts
 * await using kernel = new Kernel(discoverPlugins({ application: import.meta.url }));
 * const transport = await kernel.get(Transport, "file");
 * ```
 */
export class Kernel implements AsyncDisposable {
  readonly plugins: readonly PluginRecord[];
  readonly #contributions = new Map<string, Contribution>();
  readonly #container: DependencyContainer = rootContainer.createChildContainer();
  readonly #importPlugin: NonNullable<KernelOptions["importPlugin"]>;
  readonly #loaded = new Map<PluginRecord, Promise<LoadedPlugin>>();
  /** In the order in which they were made. */
  readonly #disposable: unknown[] = [];

  /**
   * @throws {CprError} ERR_CPR_PLUGIN_API or ERR_CPR_PLUGIN_CONFLICT, which name the plugins. No code of a plugin
   * has run then.
   */
  constructor(plugins: readonly PluginRecord[], options: KernelOptions = {}) {
    this.plugins = plugins;
    this.#importPlugin = options.importPlugin ?? ((plugin) => import(plugin.module));
    for (const plugin of plugins) {
      if (plugin.manifest.api !== pluginApi) {
        throw pluginErrors.ERR_CPR_PLUGIN_API({ plugin: plugin.name, api: plugin.manifest.api, supported: pluginApi });
      }
      for (const point of extensionPointNames) {
        for (const key of plugin.manifest.provides[point] ?? []) {
          const other = this.#contributions.get(place(point, key));
          if (other !== undefined) {
            throw pluginErrors.ERR_CPR_PLUGIN_CONFLICT({ point, key, plugins: [other.plugin.name, plugin.name] });
          }
          this.#contributions.set(place(point, key), { point, key, plugin });
        }
      }
    }
  }

  /** What the plugins say they provide; nothing is loaded. */
  contributions(point?: ExtensionPoint<unknown>): readonly Contribution[] {
    const all = [...this.#contributions.values()];
    return point === undefined ? all : all.filter((each) => each.point === nameOf(point));
  }

  /** The keys under which an extension point is served; nothing is loaded. */
  keys(point: ExtensionPoint<unknown>): readonly string[] {
    return this.contributions(point).map(({ key }) => key);
  }

  /** Whether a plugin says that it provides this; nothing is loaded. */
  has(point: ExtensionPoint<unknown>, key: string): boolean {
    return this.#contributions.has(place(nameOf(point), key));
  }

  /**
   * The implementation of that key. Its plugin is loaded if it was not.
   *
   * @throws {CprError} ERR_CPR_NO_… if no plugin provides it, ERR_CPR_PLUGIN_… if its plugin cannot be loaded.
   */
  async get<T>(point: ExtensionPoint<T>, key: string): Promise<T> {
    const contribution = this.#contributions.get(place(nameOf(point), key));
    if (contribution === undefined) {
      throw missing(nameOf(point), key, this.keys(point));
    }
    const { instances } = await this.#load(contribution.plugin);
    return instances.get(place(contribution.point, key)) as T;
  }

  /** All implementations, in the order of the plugins. All plugins that provide one are loaded. */
  async all<T>(point: ExtensionPoint<T>): Promise<readonly T[]> {
    return Promise.all(this.contributions(point).map(({ key }) => this.get(point, key)));
  }

  /** @throws {CprError} ERR_CPR_PLUGIN_… if the plugin cannot be loaded. */
  async load(plugin: PluginRecord): Promise<void> {
    await this.#load(plugin);
  }

  /** Loads every plugin, so that each one that breaks its contract is found. */
  async loadAll(): Promise<void> {
    await Promise.all(this.plugins.map((plugin) => this.#load(plugin)));
  }

  /** Disposes of the instances that can be, the youngest first. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#loaded.values());
    for (const instance of this.#disposable.splice(0).reverse()) {
      if (isAsyncDisposable(instance)) {
        await instance[Symbol.asyncDispose]();
      } else if (isDisposable(instance)) {
        instance[Symbol.dispose]();
      }
    }
  }

  #load(plugin: PluginRecord): Promise<LoadedPlugin> {
    let loaded = this.#loaded.get(plugin);
    if (loaded === undefined) {
      loaded = this.#setUp(plugin);
      this.#loaded.set(plugin, loaded);
    }
    return loaded;
  }

  async #setUp(record: PluginRecord): Promise<LoadedPlugin> {
    const plugin = await this.#import(record);
    const contributed: [ExtensionPointName, symbol][] = [];
    try {
      plugin.setup({
        contribute: <T>(point: ExtensionPoint<T>, implementation: Constructor<T>) => {
          // NOTE: resolving the point itself would also make the instances of all other plugins. A token of its own for
          // each contribution keeps them apart; the point is registered too, for whoever injects it.
          const token = Symbol(implementation.name);
          this.#container.register(token, { useClass: implementation }, { lifecycle: Lifecycle.Singleton });
          this.#container.register(point, { useToken: token });
          contributed.push([nameOf(point), token]);
        },
      });
    } catch (error) {
      throw pluginErrors.ERR_CPR_PLUGIN_SETUP({ plugin: record.name, reason: reasonOf(error) }, { cause: error });
    }
    const instances = new Map<string, unknown>();
    for (const [point, token] of contributed) {
      let instance: unknown;
      try {
        instance = this.#container.resolve(token);
      } catch (error) {
        throw pluginErrors.ERR_CPR_PLUGIN_SETUP({ plugin: record.name, reason: reasonOf(error) }, { cause: error });
      }
      this.#disposable.push(instance);
      const key = String((instance as Record<string, unknown>)[point === "transport" ? "scheme" : "name"]);
      if (instances.has(place(point, key))) {
        throw pluginErrors.ERR_CPR_PLUGIN_CONFLICT({ point, key, plugins: [record.name, record.name] });
      }
      instances.set(place(point, key), instance);
    }
    const promised = extensionPointNames.flatMap((point) =>
      (record.manifest.provides[point] ?? []).map((key) => place(point, key)),
    );
    const absent = promised.filter((each) => !instances.has(each));
    const unlisted = [...instances.keys()].filter((each) => !promised.includes(each));
    if (absent.length > 0 || unlisted.length > 0) {
      throw pluginErrors.ERR_CPR_PLUGIN_PROMISE({ plugin: record.name, missing: absent, unlisted });
    }
    return { instances };
  }

  async #import(record: PluginRecord): Promise<Plugin> {
    const fail = (reason: string, cause?: unknown) =>
      pluginErrors.ERR_CPR_PLUGIN_LOAD({ plugin: record.name, module: record.module, reason }, { cause });
    let exported: unknown;
    try {
      exported = (await this.#importPlugin(record)).default;
    } catch (error) {
      throw fail(reasonOf(error), error);
    }
    const plugin = exported as Partial<Plugin> | null | undefined;
    if (typeof plugin !== "object" || plugin === null || typeof plugin.setup !== "function") {
      throw fail("its default export is not a plugin; use definePlugin()");
    }
    if (plugin.name !== record.name) {
      throw fail(`its module says that it is '${String(plugin.name)}'`);
    }
    return plugin as Plugin;
  }
}

function missing(point: ExtensionPointName, name: string, known: readonly string[]): Error {
  switch (point) {
    case "transport":
      return pluginErrors.ERR_CPR_NO_TRANSPORT({ name, known, uri: `${name}:` });
    case "migration-mode":
      return pluginErrors.ERR_CPR_NO_MIGRATION_MODE({ name, known });
    case "migration-blocker":
      return pluginErrors.ERR_CPR_NO_MIGRATION_BLOCKER({ name, known });
    case "backend":
      return pluginErrors.ERR_CPR_NO_BACKEND({ name, known });
    case "machine":
      return pluginErrors.ERR_CPR_NO_MACHINE({ name, known });
    case "device-model":
      return pluginErrors.ERR_CPR_NO_DEVICE_MODEL({ name, known });
    case "block-driver":
      return blockErrors.ERR_CPR_NO_BLOCK_DRIVER({ name, known });
    case "network-backend":
      return networkErrors.ERR_CPR_NO_NETWORK_BACKEND({ name, known });
    case "memory-provider":
      return pluginErrors.ERR_CPR_NO_MEMORY_PROVIDER({ name, known });
    case "monitor-command":
      return pluginErrors.ERR_CPR_NO_MONITOR_COMMAND({ name, known });
    case "host-check":
      return pluginErrors.ERR_CPR_NO_HOST_CHECK({ name, known });
  }
}

function isAsyncDisposable(value: unknown): value is AsyncDisposable {
  return typeof (value as Partial<AsyncDisposable> | undefined)?.[Symbol.asyncDispose] === "function";
}

function isDisposable(value: unknown): value is Disposable {
  return typeof (value as Partial<Disposable> | undefined)?.[Symbol.dispose] === "function";
}
