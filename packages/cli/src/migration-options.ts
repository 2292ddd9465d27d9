import type { QmpClient } from "@cpr/monitor";
import type { Command } from "commander";
import { cliErrors } from "./cli-errors.ts";
import { collect } from "./option-values.ts";

/** Options of `cpr save` and `cpr load` about the migration's settings, as commander gives them. */
export interface MigrationOptions {
  readonly mode: string;
  readonly mappedRam?: true;
  readonly multifd?: string;
  readonly directIo?: true;
  readonly set: readonly string[];
}

/** The settings of a VM's migrations, as QMP has them. */
export interface Settings {
  readonly capabilities: readonly { readonly capability: string; readonly state: boolean }[];
  readonly parameters: Readonly<Record<string, unknown>>;
}

export function withMigrationOptions(command: Command): Command {
  return command
    .option("--mode <mode>", "migration mode", "cpr-reboot")
    .option("--mapped-ram", "every page of copied RAM has its own place in the file")
    .option("--multifd <channels>", "so many threads copy RAM; with --mapped-ram")
    .option("--direct-io", "bypass the host's page cache; with --multifd")
    .option(
      "--set <name=value>",
      "a migration parameter as migrate_set_parameter takes it; may be repeated",
      collect,
      [],
    );
}

/** What the options mean, apart from `--set`. */
export function settingsOf({ mode, mappedRam, multifd, directIo }: MigrationOptions, keepRam: boolean): Settings {
  if (multifd !== undefined && !/^[1-9]\d*$/.test(multifd)) {
    throw cliErrors.ERR_CPR_OPTION_VALUE({ option: "-multifd", value: multifd, expected: "a number of threads" });
  }
  return {
    capabilities: [
      { capability: "x-ignore-shared", state: keepRam },
      { capability: "mapped-ram", state: mappedRam === true },
      { capability: "multifd", state: multifd !== undefined },
    ],
    parameters: {
      mode,
      "direct-io": directIo === true,
      ...(multifd === undefined ? {} : { "multifd-channels": Number(multifd) }),
    },
  };
}

/** The settings as they are now. */
export async function readSettings(client: QmpClient): Promise<Settings> {
  const capabilities = (await client.execute("query-migrate-capabilities")) as Settings["capabilities"];
  const parameters = (await client.execute("query-migrate-parameters")) as Settings["parameters"];
  return { capabilities, parameters };
}

/** Sets capabilities and parameters, and what `--set` says as a person would. */
export async function applySettings(
  client: QmpClient,
  { capabilities, parameters }: Settings,
  set: readonly string[] = [],
): Promise<void> {
  await client.execute("migrate-set-capabilities", { capabilities });
  await client.execute("migrate-set-parameters", parameters);
  for (const text of set) {
    const [, name, value] = /^([^=]+)=(.*)$/.exec(text) ?? [];
    if (name === undefined) {
      throw cliErrors.ERR_CPR_OPTION_VALUE({ option: "-set", value: text, expected: "NAME=VALUE" });
    }
    const line = `migrate_set_parameter ${name} ${value}`;
    const answer = String(await client.execute("human-monitor-command", { "command-line": line })).trim();
    if (answer !== "") {
      throw cliErrors.ERR_CPR_SETTING({ name, reason: answer.replace(/^Error: /, "") });
    }
  }
}

/** Gives a VM the settings again that it had. Those that this program does not have are as they were. */
export async function restoreSettings(client: QmpClient, { capabilities, parameters }: Settings): Promise<void> {
  await client.execute("migrate-set-capabilities", { capabilities });
  await client.execute("migrate-set-parameters", parameters);
}
