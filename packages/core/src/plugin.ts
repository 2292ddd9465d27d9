declare const contributed: unique symbol;

/** A place that plugins add implementations to: the value names it, the type is its contract. */
export type ExtensionPoint<T> = symbol & { readonly [contributed]?: T };

/**
 * Names an extension point. The symbol comes from the global registry, so that two installed copies of a contract
 * package mean the same place.
 */
export function extensionPoint<T>(id: ExtensionPointName): ExtensionPoint<T> {
  return Symbol.for(`cpr:${id}`) as ExtensionPoint<T>;
}

/** The kinds of things that a plugin can provide, as written in the `cpr.provides` key of its `package.json`. */
export type ExtensionPointName =
  | "backend"
  | "memory-provider"
  | "transport"
  | "migration-mode"
  | "migration-blocker"
  | "device-model"
  | "block-driver"
  | "network-backend"
  | "machine"
  | "monitor-command"
  | "host-check";

/** A class whose constructor parameters each carry `@inject(Token)`. */
// biome-ignore lint/suspicious/noExplicitAny: constructor parameters are the container's affair
export type Constructor<T> = new (...parameters: any[]) => T;

/** What a plugin's `setup` may do. */
export interface PluginContext {
  /**
   * Adds an implementation to an extension point. One instance is made per kernel, when it is first asked for.
   *
   * The implementation's key (`scheme`, `name`, …) must be listed under `cpr.provides` of the plugin's manifest.
   */
  contribute<T>(point: ExtensionPoint<T>, implementation: Constructor<NoInfer<T>>): void;
}

/** A plugin: what the module that `cpr.plugin` names exports as its default. */
export interface Plugin {
  /** The npm name of the package. */
  readonly name: string;
  /** Registers contributions. It must have no other effect; an error stops the start of the kernel. */
  setup(context: PluginContext): void;
}

/** Gives a plugin literal its type. */
export function definePlugin(plugin: Plugin): Plugin {
  return plugin;
}

/** The version of the plugin contract that this kernel speaks: `cpr.api` in a plugin's manifest. */
export const pluginApi = 1;

/** The `cpr` key of a plugin's `package.json`: readable without running any of its code. */
export interface PluginManifest {
  readonly api: number;
  /** The subpath export whose default export is the {@link Plugin}, e.g. `./plugin`. */
  readonly plugin: string;
  /** For each extension point, the keys of the implementations that `setup` contributes. */
  readonly provides: Partial<Record<ExtensionPointName, readonly string[]>>;
}
