import type { PluginManifest } from "./plugin.ts";

/** A plugin that was found: plain data, so that the machine thread loads the same plugins without looking again. */
export interface PluginRecord {
  /** The npm name of the package. */
  readonly name: string;
  readonly version: string;
  /** One sentence, from its `package.json`. */
  readonly description: string;
  /** Path of its `package.json`. */
  readonly path: string;
  /** URL of the module that `cpr.plugin` names. */
  readonly module: string;
  readonly manifest: PluginManifest;
}
