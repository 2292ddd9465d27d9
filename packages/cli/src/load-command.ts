import { inspectConfiguration, isCprError, Kernel, type StreamConfiguration, Transport } from "@cpr/core";
import {
  type MigrationProgress,
  type MigrationSettings,
  type QmpClient,
  readMigrationSettings,
  writeMigrationSettings,
} from "@cpr/monitor";
import { Command } from "commander";
import { absoluteUri } from "./absolute-uri.ts";
import { type Follower, followMigration } from "./followed-migration.ts";
import { installedPlugins } from "./installed-plugins.ts";
import { Interruption } from "./interruption.ts";
import { applySettings, type MigrationOptions, settingsOf, withMigrationOptions } from "./migration-options.ts";
import { connectToVm, statusOf, withVm } from "./vm-connection.ts";

interface LoadOptions extends MigrationOptions {
  readonly ramInPlace?: true;
  readonly wakeup?: true;
  readonly quiet?: true;
  readonly json?: true;
}

/** Describes `cpr load`. */
export function createLoadCommand(): Command {
  const command = withVm(new Command("load"))
    .summary("load a checkpoint into a VM that waits for one")
    .description(
      "Loads a checkpoint into a VM that was started with -incoming defer and the options that the saved one had. What the " +
        "checkpoint needs (RAM in place, mapped-ram) is read from it and set, if it can be read twice. If it cannot be loaded, " +
        "the VM waits as before.",
    )
    .helpOption("-h, --help", "show this help")
    .argument("<uri>", "a path, or a URI as migrate_incoming takes it; a path begins in this folder");
  return withMigrationOptions(command)
    .option(
      "--ram-in-place",
      "RAM was left in place; only needed where the checkpoint cannot be read twice, as with exec:",
    )
    .option("--wakeup", "wake the guest if it is suspended, as with system_wakeup")
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
  const { quiet, json, wakeup } = options;
  await using client = await connectToVm(vm);
  // A client's commands are carried out one after the other, and the load is the longest of them.
  await using observer = await connectToVm(vm);
  using interruption = new Interruption();
  const before = await readMigrationSettings(client);
  let result: MigrationProgress;
  try {
    await applySettings(client, await settingsFor(uri, options), options.set);
    interruption.throwIfInterrupted();
    const loading = client.execute("migrate-incoming", { uri, "exit-on-error": false });
    const output = quiet === true ? undefined : process.stderr;
    [, result] = await Promise.all([loading, followWhile(loading, observer, { output, signal: interruption.signal })]);
  } catch (error) {
    await tellWaiting(client, before).catch(() => {});
    throw error;
  }
  const loaded = await statusOf(client);
  if (wakeup === true && loaded === "suspended") {
    await client.execute("system_wakeup");
  }
  const status = await statusOf(client);
  if (json === true) {
    process.stdout.write(`${JSON.stringify({ status, result }, undefined, 2)}\n`);
  } else if (quiet !== true) {
    const { "x-notices": notices = [] } = result;
    process.stdout.write(notices.map((notice) => `Note: ${notice}\n`).join(""));
    process.stdout.write(`Loaded from ${uri}; the VM is ${status}.\n`);
    if (status === "suspended") {
      process.stdout.write("The monitor's system_wakeup wakes the guest, as --wakeup would have.\n");
    }
  }
}

/** Gives a VM that was not loaded its settings back, and says that it waits. */
async function tellWaiting(client: QmpClient, before: MigrationSettings): Promise<void> {
  await writeMigrationSettings(client, before);
  if ((await statusOf(client)) === "inmigrate") {
    process.stderr.write("The VM waits as before, and can be told to load again.\n");
  }
}

/** What is set for a load: what the checkpoint needs if that can be read, and otherwise what the options say. */
async function settingsFor(uri: string, options: LoadOptions): Promise<MigrationSettings> {
  const stored = await storedConfiguration(uri);
  const needs = (name: string): boolean => stored?.capabilities.includes(name) === true;
  const { capabilities, parameters } = settingsOf(options, options.ramInPlace === true || needs("x-ignore-shared"));
  return {
    parameters,
    capabilities: capabilities
      .map((each) => (each.capability === "mapped-ram" ? { ...each, state: each.state || needs("mapped-ram") } : each))
      // What nobody has said anything about stays as it is.
      .filter(({ state }) => state || stored !== undefined),
  };
}

async function followWhile(loading: Promise<unknown>, observer: QmpClient, follower: Follower) {
  try {
    return await followMigration(observer, follower);
  } catch {
    // What the command itself is answered is what counts.
    await loading;
    return followMigration(observer, follower);
  }
}

/** What a checkpoint says about itself, if its place can be read twice. */
async function storedConfiguration(uri: string): Promise<StreamConfiguration | undefined> {
  await using kernel = new Kernel(installedPlugins([]));
  const scheme = uri.slice(0, uri.indexOf(":"));
  if (!kernel.has(Transport, scheme) || !(await kernel.get(Transport, scheme)).supports.seekable) {
    return undefined;
  }
  try {
    return await inspectConfiguration(kernel, uri);
  } catch (error) {
    if (isCprError(error)) {
      // The VM tells what is wrong, in its own words; or it can read what this process cannot.
      return undefined;
    }
    throw error;
  }
}
