import { type MigrationSettings, type QmpClient, writeMigrationSettings } from "@cpr/monitor";
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
export function settingsOf(
  { mode, mappedRam, multifd, directIo }: MigrationOptions,
  keepRam: boolean,
): MigrationSettings {
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

/** Sets capabilities and parameters, and what `--set` says as a person would. */
export async function applySettings(
  client: QmpClient,
  settings: MigrationSettings,
  set: readonly string[] = [],
): Promise<void> {
  await writeMigrationSettings(client, settings);
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
