import { dirname, join } from "node:path";
import { formatBytes, type MigrationForecast, refuse } from "@cpr/core";
import { type MigrationProgress, readMigrationSettings, writeMigrationSettings } from "@cpr/monitor";
import { Command } from "commander";
import { absoluteUri } from "./absolute-uri.ts";
import { cliErrors } from "./cli-errors.ts";
import { beginMigration, followMigration } from "./followed-migration.ts";
import { Interruption } from "./interruption.ts";
import { applySettings, type MigrationOptions, settingsOf, withMigrationOptions } from "./migration-options.ts";
import { suspendGuest, wakeGuest } from "./suspended-guest.ts";
import { connectToVm, socketPath, withVm } from "./vm-connection.ts";

interface SaveOptions extends MigrationOptions {
  readonly for: string;
  readonly copyRam?: true;
  readonly bandwidth?: string;
  readonly suspendGuest?: true;
  readonly agent?: string;
  readonly suspendTimeout: string;
  readonly dryRun?: true;
  readonly quit?: true;
  readonly quiet?: true;
  readonly json?: true;
}

/** Describes `cpr save`. */
export function createSaveCommand(): Command {
  const command = withVm(new Command("save"))
    .summary("save a running VM to a checkpoint")
    .description(
      "Stops a VM and saves it to a URI, with shared RAM left in place. It is checked first whether that can be done, and told " +
        "what will be done; what is refused is refused while the guest runs. A VM that could not be saved runs on.",
    )
    .helpOption("-h, --help", "show this help")
    .argument("<uri>", "a path, or a URI as migrate takes it; the path of a file begins in this folder");
  return withMigrationOptions(command)
    .option(
      "--for <purpose>",
      "what the checkpoint is to outlive: restart of the VM's process, or reboot of the host, which refuses to leave RAM where that loses it",
      "restart",
    )
    .option("--copy-ram", "copy all RAM into the checkpoint, also what could stay in place")
    .option("--bandwidth <size>", "bytes per second at most, e.g. 512M; the guest stands still meanwhile")
    .option("--suspend-guest", "have the guest's agent suspend the guest to RAM first; it sleeps in the checkpoint")
    .option("--agent <path>", "the socket of the guest's agent; by default qga.sock beside the VM's socket")
    .option("--suspend-timeout <seconds>", "how long the guest may take to suspend itself", "60")
    .option("-n, --dry-run", "check and tell, and stop there; nothing is changed")
    .option("--quit", "end the VM's process when the checkpoint is complete")
    .option("-q, --quiet", "tell only what went wrong")
    .option("--json", "print the plan and the result as JSON")
    .addHelpText(
      "after",
      `
Ctrl-C gives the save up, and the VM runs on.

Examples:
  cpr save vm.qmp vm.state --dry-run
  cpr save vm.qmp vm.state --quit
  cpr save vm.qmp vm.state --suspend-guest --agent qga.sock --quit
  cpr save vm.qmp /var/lib/vm/vm.state --for reboot --quit
  cpr save vm.qmp 'exec:zstd -c > /var/tmp/vm.zst' --copy-ram

Exit status: 0 saved, or it could be; 7 refused, or given up; others as the page about errors tells.`,
    )
    .action(save);
}

async function save(vm: string, place: string, options: SaveOptions): Promise<void> {
  const uri = absoluteUri(place);
  const { set, bandwidth, dryRun, quit, quiet, json, copyRam, suspendTimeout } = options;
  const agent = options.agent ?? join(dirname(socketPath(vm)), "qga.sock");
  if (!/^[1-9]\d*$/.test(suspendTimeout)) {
    const expected = "a number of seconds";
    throw cliErrors.ERR_CPR_OPTION_VALUE({ option: "-suspend-timeout", value: suspendTimeout, expected });
  }
  await using client = await connectToVm(vm);
  using interruption = new Interruption();
  const before = await readMigrationSettings(client);
  const settings = [...set, ...(bandwidth === undefined ? [] : [`max-bandwidth=${bandwidth}`])];
  let plan: MigrationForecast;
  try {
    const { capabilities, parameters } = settingsOf(options, copyRam !== true);
    // A VM's process that is older than the parameter saves for a restart.
    const purpose = options.for === "restart" && !("x-checkpoint-for" in before.parameters) ? undefined : options.for;
    const made = purpose === undefined ? {} : { "x-checkpoint-for": purpose };
    await applySettings(client, { capabilities, parameters: { ...parameters, ...made } }, settings);
    plan = (await client.execute("x-query-migrate-plan", { uri })) as MigrationForecast;
    interruption.throwIfInterrupted();
  } catch (error) {
    await writeMigrationSettings(client, before);
    throw error;
  }
  if (quiet !== true && json !== true) {
    process.stdout.write(`${reportOf(plan)}\n`);
    if (options.suspendGuest === true) {
      process.stdout.write(`The guest suspends itself first, told by its agent at '${agent}'\n`);
    }
  }
  if (plan.refusals.length > 0 || dryRun === true) {
    await writeMigrationSettings(client, before);
    if (json === true) {
      process.stdout.write(`${JSON.stringify({ plan }, undefined, 2)}\n`);
    }
    refuse(plan.refusals);
    return;
  }
  let result: MigrationProgress;
  let putToSleep = false;
  try {
    const { signal } = interruption;
    const output = quiet === true ? undefined : process.stderr;
    if (options.suspendGuest === true) {
      putToSleep = await suspendGuest(client, { agent, seconds: Number(suspendTimeout), output, signal });
    }
    await beginMigration(client, vm, uri, signal);
    result = await followMigration(client, { output, expected: plan.copied, signal });
  } catch (error) {
    // Why it failed says more than that the VM, which may have ended, did not get its settings back.
    await writeMigrationSettings(client, before).catch(() => {});
    if (putToSleep) await wakeGuest(client);
    throw error;
  }
  if (quit === true) {
    await client.execute("quit");
    await client.closed;
  }
  if (json === true) {
    process.stdout.write(`${JSON.stringify({ plan, result }, undefined, 2)}\n`);
  } else if (quiet !== true) {
    process.stdout.write(`${resultOf(uri, result)}\n`);
  }
}

function reportOf(plan: MigrationForecast): string {
  const { uri, mode, purpose, capabilities, transport, refusals, ram, copied, free, survivesReboot } = plan;
  const lasts = survivesReboot === false ? ", on a file system that is gone after a reboot of the host" : "";
  return [
    `Checkpoint: ${uri}, for a ${purpose}${lasts}`,
    `Mode: ${mode}; capabilities: ${capabilities.length === 0 ? "none" : capabilities.join(", ")}`,
    ...(transport === undefined ? [] : [`Transport: ${transport.scheme}, which ${abilitiesOf(transport.supports)}`]),
    ...ram.map(({ reason, looksShared }) => (looksShared ? `Note: ${reason}` : reason)),
    `To copy: ${copied === 0 ? "no RAM" : `at most ${formatBytes(copied)} of RAM`}`,
    ...(free === undefined ? [] : [`Free space there: ${formatBytes(free)}`]),
    ...(free !== undefined && copied > free ? ["Note: that may be too little, unless much of the RAM is zero"] : []),
    ...refusals.map(({ message }) => `Refused: ${message}`),
  ].join("\n");
}

function abilitiesOf({ stores, seekable, parallel }: NonNullable<MigrationForecast["transport"]>["supports"]): string {
  return [
    stores ? "keeps what it is given" : "streams to another process",
    ...(seekable ? ["takes positions"] : []),
    ...(parallel ? ["serves several threads"] : []),
  ].join(", ");
}

function resultOf(uri: string, { ram, downtime, "total-time": total }: MigrationProgress): string {
  const { transferred = 0, "x-in-place": inPlace = 0 } = ram ?? {};
  const times = `${total ?? 0} ms, of which the guest stood still ${downtime ?? 0} ms`;
  return `Saved to ${uri} in ${times}: ${formatBytes(transferred)} of RAM copied, ${formatBytes(inPlace)} left in place.`;
}
