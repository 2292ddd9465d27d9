import type { MigrationInformation, MonitorContext } from "@cpr/core";
import { defineCommand } from "../define-command.ts";

/**
 * How long `migrate -d` waits before it gives the prompt back. A checkpoint with RAM in place takes a few
 * milliseconds, so that a person, or a script, who asks next finds it done.
 */
const detachAfterMilliseconds = 200;

const delay = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** `migrate` */
export const MigrateCommand = defineCommand({
  name: "migrate",
  words: "migrate",
  summary: "save the VM to a URI; with -d do not wait until it is done",
  arguments: [
    { name: "detach", type: "flag", letter: "d", optional: true, summary: "do not wait until it is done" },
    { name: "uri", type: "string", rest: true, summary: "where to, e.g. file:vm.state" },
  ],
  execute: async ({ machine, conversation }, values) => {
    await machine.migrate(String(values.uri));
    if (conversation.audience === "programs") return undefined;
    const done = machine.migrationDone();
    return values.detach === true ? Promise.race([done, delay(detachAfterMilliseconds).then(() => undefined)]) : done;
  },
  print: (result) => {
    const information = result as MigrationInformation | undefined;
    if (information === undefined || information.status === "completed") {
      return "";
    }
    return information.status === "cancelled"
      ? "Migration cancelled; the VM is as it was before."
      : `Error: ${information.errorDescription ?? `migration ${information.status}`}`;
  },
});

/** `migrate_cancel` */
export const MigrateCancelCommand = defineCommand({
  name: "migrate_cancel",
  words: "migrate_cancel",
  summary: "give up the migration that is under way",
  arguments: [],
  execute: ({ machine }) => machine.migrateCancel(),
});

/** `migrate-incoming` / `migrate_incoming` */
export const MigrateIncomingCommand = defineCommand({
  name: "migrate-incoming",
  words: "migrate_incoming",
  summary: "load the VM from a URI; after a start with -incoming defer",
  arguments: [{ name: "uri", type: "string", rest: true, summary: "where from, e.g. file:vm.state" }],
  execute: ({ machine }, values) => machine.migrateIncoming(String(values.uri)),
});

/** `migrate_set_parameter` */
export const MigrateSetParameterCommand = defineCommand({
  name: "x-migrate-set-parameter",
  onlyFor: "people",
  words: "migrate_set_parameter",
  summary: "set a parameter of migration, e.g. mode cpr-reboot",
  arguments: [
    {
      name: "parameter",
      type: "string",
      summary: "its name",
      complete: ({ machine }: MonitorContext) => [...machine.settings.parameters().keys()],
    },
    { name: "value", type: "string", rest: true, summary: "its value" },
  ],
  execute: async ({ machine }, values) => {
    machine.settings.setParameter(String(values.parameter), String(values.value));
  },
});

/** `migrate_set_capability` */
export const MigrateSetCapabilityCommand = defineCommand({
  name: "x-migrate-set-capability",
  onlyFor: "people",
  words: "migrate_set_capability",
  summary: "switch a capability of migration on or off, e.g. x-ignore-shared on",
  arguments: [
    {
      name: "capability",
      type: "string",
      summary: "its name",
      complete: ({ machine }: MonitorContext) => [...machine.settings.capabilities().keys()],
    },
    { name: "state", type: "boolean", summary: "on or off" },
  ],
  execute: async ({ machine }, values) => {
    machine.settings.setCapability(String(values.capability), values.state === true);
  },
});

/** `query-migrate` / `info migrate` */
export const QueryMigrateCommand = defineCommand({
  name: "query-migrate",
  words: "info migrate",
  summary: "show how the migration is getting on",
  arguments: [],
  execute: async ({ machine }) => machine.queryMigrate(),
  print: (result) => {
    const { status, mode, totalTime, downtime, ram, errorDescription, blockedReasons } = result as MigrationInformation;
    const lines = [`Migration status: ${status}`, `mode: ${mode}`];
    if (errorDescription !== undefined) lines.push(`error: ${errorDescription}`);
    if (totalTime !== undefined) lines.push(`total time: ${totalTime.toFixed(1)} ms`);
    if (downtime !== undefined) lines.push(`downtime: ${downtime.toFixed(1)} ms`);
    if (ram !== undefined) {
      lines.push(`total ram: ${kibibytes(ram.total)}`, `ram left in place: ${kibibytes(ram.inPlace)}`);
      lines.push(`transferred ram: ${kibibytes(ram.transferred)}`, `remaining ram: ${kibibytes(ram.remaining)}`);
      lines.push(`zero pages: ${ram.zeroPages} pages`, `normal pages: ${ram.normalPages} pages`);
    }
    for (const reason of blockedReasons) lines.push(`blocked: ${reason}`);
    return lines.join("\n");
  },
});

function kibibytes(bytes: number): string {
  return `${Math.ceil(bytes / 1024)} kbytes`;
}

/** `query-migrate-capabilities` / `info migrate_capabilities` */
export const QueryMigrateCapabilitiesCommand = defineCommand({
  name: "query-migrate-capabilities",
  words: "info migrate_capabilities",
  summary: "show which capabilities of migration are on",
  arguments: [],
  execute: async ({ machine }) =>
    [...machine.settings.capabilities()].map(([capability, state]) => ({ capability, state })),
  print: (result) =>
    (result as readonly { capability: string; state: boolean }[])
      .map(({ capability, state }) => `${capability}: ${state ? "on" : "off"}`)
      .join("\n"),
});

/** `query-migrate-parameters` / `info migrate_parameters` */
export const QueryMigrateParametersCommand = defineCommand({
  name: "query-migrate-parameters",
  words: "info migrate_parameters",
  summary: "show the parameters of migration",
  arguments: [],
  execute: async ({ machine }) => Object.fromEntries(machine.settings.parameters()),
  print: (result) =>
    Object.entries(result as Record<string, string | number | boolean>)
      .map(([name, value]) => `${name}: ${typeof value === "boolean" ? (value ? "on" : "off") : value}`)
      .join("\n"),
});
