import { inspectConfiguration, isCprError, Kernel, type StreamConfiguration, Transport } from "@cpr/core";
import { Command } from "commander";
import { absoluteUri } from "./absolute-uri.ts";
import { followMigration } from "./followed-migration.ts";
import { installedPlugins } from "./installed-plugins.ts";
import { applySettings, type MigrationOptions, settingsOf, withMigrationOptions } from "./migration-options.ts";
import { connectToVm, withVm } from "./vm-connection.ts";

interface LoadOptions extends MigrationOptions {
  readonly quiet?: true;
  readonly json?: true;
}

/** Describes `cpr load`. */
export function createLoadCommand(): Command {
  const command = withVm(new Command("load"))
    .summary("load a checkpoint into a VM that waits for one")
    .description(
      "Loads a checkpoint into a VM that was started with -incoming defer and the options that the saved one had. What the " +
        "checkpoint needs (RAM in place, mapped-ram) is read from it and set. If it cannot be loaded, the VM waits as before.",
    )
    .helpOption("-h, --help", "show this help")
    .argument("<uri>", "a path, or a URI as migrate_incoming takes it; a path begins in this folder");
  return withMigrationOptions(command)
    .option("-q, --quiet", "tell only what went wrong")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      "\nExit status: 0 loaded; 3 there is nothing to load; 6 the checkpoint is damaged or another machine's; 7 refused.",
    )
    .action(load);
}

async function load(vm: string, place: string, options: LoadOptions): Promise<void> {
  const uri = absoluteUri(place);
  const { set, quiet, json } = options;
  const stored = await storedConfiguration(uri);
  const needs = (name: string): boolean => stored?.capabilities.includes(name) === true;
  const { capabilities, parameters } = settingsOf(options, needs("x-ignore-shared"));
  const mapped = capabilities.map((each) =>
    each.capability === "mapped-ram" ? { ...each, state: each.state || needs("mapped-ram") } : each,
  );
  await using client = await connectToVm(vm);
  // A client's commands are carried out one after the other, and the load is the longest of them.
  await using observer = await connectToVm(vm);
  await applySettings(client, { capabilities: mapped, parameters }, set);
  const loading = client.execute("migrate-incoming", { uri, "exit-on-error": false });
  // It is followed from the moment on in which it has begun: before, the last attempt's end would be taken for its own.
  const result = await Promise.all([loading, followWhile(loading, observer, quiet === true)]).then(([, end]) => end);
  const { status } = (await client.execute("query-status")) as { status: string };
  if (json === true) {
    process.stdout.write(`${JSON.stringify({ status, result }, undefined, 2)}\n`);
  } else if (quiet !== true) {
    process.stdout.write(`Loaded from ${uri}; the VM is ${status}.\n`);
  }
}

async function followWhile(
  loading: Promise<unknown>,
  observer: Awaited<ReturnType<typeof connectToVm>>,
  quiet: boolean,
) {
  const output = quiet ? undefined : process.stderr;
  try {
    return await followMigration(observer, { output });
  } catch {
    // What the command itself is answered is what counts.
    await loading;
    return followMigration(observer, { output });
  }
}

/** What a checkpoint says about itself, if its place keeps it and so can be read twice. */
async function storedConfiguration(uri: string): Promise<StreamConfiguration | undefined> {
  await using kernel = new Kernel(installedPlugins([]));
  const scheme = uri.slice(0, uri.indexOf(":"));
  if (!kernel.has(Transport, scheme) || !(await kernel.get(Transport, scheme)).supports.stores) {
    return undefined;
  }
  try {
    return await inspectConfiguration(kernel, uri);
  } catch (error) {
    if (isCprError(error)) {
      // The VM tells what is wrong, in its own words.
      return undefined;
    }
    throw error;
  }
}
