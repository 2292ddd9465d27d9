import { Backend, BlockDriver, isCprError, Kernel, MemoryProvider, type PluginRecord, Transport } from "@cpr/core";
import { Command } from "commander";
import { installedPlugins } from "./installed-plugins.ts";
import { collect } from "./option-values.ts";

interface PluginsOptions {
  readonly json?: true;
  readonly supports?: true;
  readonly plugin: readonly string[];
}

type Supports = Readonly<Record<string, unknown>>;

/** Describes `cpr plugins`. */
export function createPluginsCommand(): Command {
  return new Command("plugins")
    .summary("show the plugins that are installed and what they provide")
    .description("Shows every plugin that a VM started here would use, from the plugins' manifests: none is run.")
    .helpOption("-h, --help", "show this help")
    .option("--json", "print JSON")
    .option(
      "--supports",
      "also what transports, memory, disks and backends can do, which rules follow from; these plugins are run",
    )
    .option("--plugin <name>", "also this one: an npm package name or a path; may be repeated", collect, [])
    .action(async ({ json, supports, plugin }: PluginsOptions) => {
      const installed = installedPlugins(plugin);
      const abilities = supports === true ? await abilitiesOf(installed) : new Map<string, Supports>();
      const plugins = installed.map(({ name, version, manifest: { provides } }) => {
        const can = Object.entries(provides).flatMap(([point, keys]) =>
          keys.flatMap((key) => {
            const each = abilities.get(`${point} ${key}`);
            return each === undefined ? [] : [[key, each] as const];
          }),
        );
        return { name, version, provides, ...(can.length === 0 ? {} : { supports: Object.fromEntries(can) }) };
      });
      const text = json === true ? JSON.stringify(plugins, undefined, 2) : plugins.map(reportOf).join("\n");
      process.stdout.write(`${text}\n`);
    });
}

/** What contributions state about themselves, by extension point and key. One that cannot be loaded says nothing. */
async function abilitiesOf(plugins: readonly PluginRecord[]): Promise<ReadonlyMap<string, Supports>> {
  await using kernel = new Kernel(plugins);
  const result = new Map<string, Supports>();
  for (const [name, point] of [
    ["transport", Transport],
    ["memory-provider", MemoryProvider],
    ["backend", Backend],
    ["block-driver", BlockDriver],
  ] as const) {
    for (const key of kernel.keys(point)) {
      try {
        result.set(`${name} ${key}`, { ...(await kernel.get<{ supports: object }>(point, key)).supports });
      } catch (error) {
        if (!isCprError(error)) {
          throw error;
        }
      }
    }
  }
  return result;
}

function reportOf(plugin: {
  readonly name: string;
  readonly version: string;
  readonly provides: Readonly<Record<string, readonly string[]>>;
  readonly supports?: Readonly<Record<string, Supports>>;
}): string {
  const { name, version, provides, supports = {} } = plugin;
  return [
    `${name} ${version}`,
    ...Object.entries(provides).flatMap(([point, keys]) => [
      `  ${point}: ${keys.join(", ")}`,
      ...keys.flatMap((key) => (supports[key] === undefined ? [] : [`    ${key}: ${wordsOf(supports[key])}`])),
    ]),
  ].join("\n");
}

function wordsOf(supports: Supports): string {
  const words = Object.entries(supports).flatMap(([name, value]) =>
    value === false ? [] : value === true ? [name] : [`${name}=${value}`],
  );
  return words.length === 0 ? "none of it" : words.join(", ");
}
