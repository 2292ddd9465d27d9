import { fileURLToPath } from "node:url";
import { discoverPlugins, type PluginRecord } from "@cpr/core";

/** The plugins that a VM started here uses: this package's dependencies, the project's in this folder, and those named. */
export function installedPlugins(named: readonly string[]): readonly PluginRecord[] {
  return discoverPlugins({
    application: fileURLToPath(new URL("../package.json", import.meta.url)),
    project: process.cwd(),
    plugins: named,
  });
}
