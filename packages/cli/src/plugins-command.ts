import { Command } from "commander";
import { installedPlugins } from "./installed-plugins.ts";

/** Describes `cpr plugins`. */
export function createPluginsCommand(): Command {
  return new Command("plugins")
    .summary("show the plugins that are installed and what they provide")
    .description("Shows every plugin that a VM started here would use, from the plugins' manifests: none is run.")
    .helpOption("-h, --help", "show this help")
    .option("--json", "print JSON")
    .option("--plugin <name>", "also this one: an npm package name or a path; may be repeated", collect, [])
    .action(({ json, plugin }: { json?: true; plugin: readonly string[] }) => {
      const plugins = installedPlugins(plugin).map(({ name, version, manifest }) => ({
        name,
        version,
        provides: manifest.provides,
      }));
      if (json === true) {
        process.stdout.write(`${JSON.stringify(plugins, undefined, 2)}\n`);
        return;
      }
      for (const { name, version, provides } of plugins) {
        process.stdout.write(`${name} ${version}\n`);
        for (const [point, keys] of Object.entries(provides)) {
          process.stdout.write(`  ${point}: ${keys.join(", ")}\n`);
        }
      }
    });
}

const collect = (value: string, previous: readonly string[]): readonly string[] => [...previous, value];
