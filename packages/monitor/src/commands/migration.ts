import type { MigrationInformation, MigrationStatus, MonitorArgument } from "@cpr/core";
import { defineCommand } from "../define-command.ts";
import { channelsType, uriOf } from "../migration-channels.ts";
import { monitorErrors } from "../monitor-errors.ts";

/**
 * How long `migrate -d` waits before it gives the prompt back. A checkpoint with RAM in place takes a few
 * milliseconds, so that a person, or a script, who asks next finds it done.
 */
const detachAfterMilliseconds = 200;

/** How often a person who waits is shown how far a migration is. */
const progressMilliseconds = 250;

const delay = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

const uri = (summary: string): MonitorArgument => ({
  name: "uri",
  type: "string",
  optional: "programs",
  rest: true,
  summary,
});

const channels: MonitorArgument = {
  name: "channels",
  type: channelsType,
  optional: true,
  onlyFor: "programs",
  summary: "the same as a list of one channel of type main",
};

/** What a person is told at the end. */
type MigrationEnd = Pick<MigrationInformation, "status" | "errorDescription" | "notices">;

/** `migrate` */
export const MigrateCommand = defineCommand({
  name: "migrate",
  words: "migrate",
  summary: "save the VM to a URI; with -d do not wait until it is done",
  arguments: [
    { name: "detach", type: "flag", letter: "d", optional: true, summary: "do not wait until it is done" },
    { name: "resume", type: "flag", letter: "r", optional: true, summary: "resume a paused postcopy migration" },
    channels,
    uri("where to, e.g. file:vm.state"),
  ],
  execute: async ({ machine, conversation }, values) => {
    if (values["resume"] === true) {
      throw monitorErrors.ERR_CPR_NOTHING_TO_RESUME({});
    }
    await machine.migrate(uriOf(values));
    if (conversation.audience === "programs") {
      return undefined;
    }
    const done = machine.migrationDone().then(
      ({ status, errorDescription, notices }): MigrationEnd => ({
        status,
        ...(errorDescription === undefined ? {} : { errorDescription }),
        ...(notices === undefined ? {} : { notices }),
      }),
    );
    if (values["detach"] === true) {
      return Promise.race([done, delay(detachAfterMilliseconds).then(() => undefined)]);
    }
    const timer = setInterval(() => {
      const { ram } = machine.queryMigrate();
      const total = ram === undefined ? 0 : ram.total - ram.inPlace;
      if (ram !== undefined && total > 0) conversation.progress?.({ done: total - ram.remaining, total });
    }, progressMilliseconds);
    try {
      return await done;
    } finally {
      clearInterval(timer);
      conversation.progress?.(undefined);
    }
  },
  print: (result) => {
    const information = result as MigrationEnd | undefined;
    if (information === undefined || information.status === "completed") {
      return (information?.notices ?? []).map((notice) => `note: ${notice}`).join("\n");
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

const statuses: readonly MigrationStatus[] = [
  "none",
  "setup",
  "cancelling",
  "cancelled",
  "active",
  "completed",
  "failed",
  "pre-switchover",
  "device",
];

/** `migrate-continue` / `migrate_continue` */
export const MigrateContinueCommand = defineCommand({
  name: "migrate-continue",
  words: "migrate_continue",
  summary: "let a migration go on that waits",
  arguments: [
    {
      name: "state",
      type: "string",
      summary: "in which state it waits: pre-switchover",
      complete: () => ["pre-switchover"],
    },
  ],
  execute: async ({ machine }, values) => {
    const state = statuses.find((status) => status === values["state"]);
    if (state === undefined) {
      const problem = `Parameter 'state' does not accept value '${String(values["state"])}'`;
      throw monitorErrors.ERR_CPR_QMP_ARGUMENT({ problem });
    }
    await machine.migrateContinue(state);
  },
});

/** `migrate-incoming` / `migrate_incoming` */
export const MigrateIncomingCommand = defineCommand({
  name: "migrate-incoming",
  words: "migrate_incoming",
  summary: "load the VM from a URI; after a start with -incoming defer",
  arguments: [
    channels,
    {
      name: "exit-on-error",
      type: "boolean",
      optional: true,
      onlyFor: "programs",
      summary: "end the process if the VM cannot be loaded; true if it is left out",
    },
    uri("where from, e.g. file:vm.state"),
  ],
  execute: async ({ machine, conversation }, values) => {
    const from = uriOf(values);
    const forPrograms = conversation.audience === "programs";
    const streams = forPrograms && (await machine.planMigration(from)).transport?.supports.stores === false;
    // As in QEMU, a person who has mistyped may try again, and a program has to say that it will.
    const loaded = machine.migrateIncoming(from, { exitOnError: forPrograms && values["exit-on-error"] !== false });
    if (streams) {
      // The other side begins when this one is told to listen, often by the same program: what comes of it is in
      // `query-migrate` and in events.
      loaded.catch(() => undefined);
      return;
    }
    await loaded;
  },
});
