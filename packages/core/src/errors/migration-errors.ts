import { defineError, defineErrors } from "../errors.ts";
import type { CheckpointPurpose } from "../migration-mode.ts";

type None = Record<string, never>;

/** What the checkpoint was made for, if the host was rebooted since. */
type Rebooted = CheckpointPurpose | undefined;

/** Why a migration is refused or fails, apart from what is wrong with a stream. */
export const migrationErrors = defineErrors({
  ERR_CPR_URI: defineError<{ uri: string }>({
    category: "usage",
    when: "A migration URI has no scheme.",
    message: ({ uri }) => `unknown migration protocol: ${uri}`,
    hint: () => "A URI is SCHEME:REST, e.g. file:vm.state.",
  }),
  ERR_CPR_MIGRATION_ACTIVE: defineError<None>({
    category: "refused",
    when: "A migration is asked for, or its settings are changed, while one is under way.",
    message: () => "There's a migration process in progress",
    hint: () => "Wait for its end (`info migrate`) or cancel it with `migrate_cancel`.",
  }),
  ERR_CPR_MIGRATION_NOT_FINAL: defineError<None>({
    category: "refused",
    when: "`cont` or `system_reset` while a checkpoint is being written.",
    message: () => "Migration is not finalized yet",
  }),
  ERR_CPR_MIGRATE_IN_INMIGRATE: defineError<None>({
    category: "refused",
    when: "`migrate` in a VM that waits for an incoming migration.",
    message: () => "Guest is waiting for an incoming migration",
  }),
  ERR_CPR_MIGRATE_IN_POSTMIGRATE: defineError<None>({
    category: "refused",
    when: "`migrate` in a VM that was saved already and has not run since.",
    message: () => "Can't migrate the vm that was paused due to previous migration",
    hint: () => "Let it run with `cont` first, or quit: its checkpoint is complete.",
  }),
  ERR_CPR_NOT_INCOMING: defineError<None>({
    category: "refused",
    when: "`migrate_incoming` in a process that was started without `-incoming`.",
    message: () => "'-incoming' was not specified on the command line",
  }),
  ERR_CPR_INCOMING_STARTED: defineError<None>({
    category: "refused",
    when: "`migrate_incoming` while the VM is being loaded, or after it was.",
    message: () => "The incoming migration has already been started",
  }),
  ERR_CPR_BLOCKED: defineError<{ by: string; mode: string; reason: string }>({
    category: "refused",
    when: "A device of the VM cannot be saved in the migration mode, or a plugin says that the VM must not be.",
    message: ({ reason }) => reason,
    hint: ({ by, mode }) => `${by} blocks the migration mode ${mode}.`,
  }),
  ERR_CPR_RAM_VOLATILE: defineError<{ id: string; location: string; mode: string }>({
    category: "refused",
    when: "A checkpoint without any RAM in it is asked for, but some RAM would not stay in place.",
    message: ({ id }) => `Memory region ${id} is volatile`,
    hint: ({ location, mode }) =>
      `It is '${location}', which is not found again in mode ${mode}. Give RAM a file, with share=on.`,
  }),
  ERR_CPR_MODE_UNSUPPORTED: defineError<{ name: string; known: readonly string[] }>({
    category: "refused",
    when: "A migration mode of QEMU that no installed plugin provides.",
    message: ({ name }) => `Migration mode '${name}' is not supported`,
    hint: (details) => `Known: ${details.known.join(", ")}.`,
  }),
  ERR_CPR_CAPABILITY_UNKNOWN: defineError<{ name: string; known: readonly string[] }>({
    category: "usage",
    when: "A migration capability that QEMU does not know either.",
    message: ({ name }) => `invalid parameter value: ${name}`,
    hint: (details) => `Capabilities: ${details.known.join(", ")}.`,
  }),
  ERR_CPR_CAPABILITY_UNSUPPORTED: defineError<{ name: string; supported: readonly string[] }>({
    category: "refused",
    when: "A capability of QEMU that this program does not have is switched on, or is on when a migration begins.",
    message: ({ name }) => `Migration capability '${name}' is not supported`,
    hint: ({ supported }) => `Supported: ${supported.join(", ")}.`,
  }),
  ERR_CPR_CAPABILITY_CONFLICT: defineError<{ capabilities: readonly string[]; reason: string }>({
    category: "refused",
    when: "Capabilities exclude each other, or one lacks another that it needs.",
    message: ({ reason }) => reason,
  }),
  ERR_CPR_PARAMETER_UNKNOWN: defineError<{ name: string; known: readonly string[]; typed: boolean }>({
    category: "usage",
    when: "A migration parameter that QEMU does not know either.",
    message: ({ name, typed }) => (typed ? `Parameter '${name}' is unexpected` : `invalid parameter value: ${name}`),
    hint: (details) => `Parameters: ${details.known.join(", ")}.`,
  }),
  ERR_CPR_PARAMETER_UNSUPPORTED: defineError<{ name: string; supported: readonly string[] }>({
    category: "refused",
    when: "A parameter of QEMU that this program does not have is set.",
    message: ({ name }) => `Migration parameter '${name}' is not supported`,
    hint: ({ supported }) => `Supported: ${supported.join(", ")}.`,
  }),
  ERR_CPR_MIGRATION_PROPERTY: defineError<{ name: string }>({
    category: "usage",
    when: "`-global migration.NAME=VALUE` with a name that is neither a capability nor a parameter.",
    message: ({ name }) => `Property 'migration.${name}' not found`,
    hint: () => "`info migrate_capabilities` and `info migrate_parameters` in the monitor list all names.",
  }),
  ERR_CPR_PARAMETER_VALUE: defineError<{ name: string; value: string; expected: string }>({
    category: "usage",
    when: "A migration parameter is given a value that it cannot have.",
    message: ({ name, expected }) => `Parameter '${name}' expects ${expected}`,
  }),
  ERR_CPR_PARAMETER_RANGE: defineError<{ name: string; value: string; expected: string }>({
    category: "usage",
    when: "A migration parameter is given a number that it cannot have.",
    message: ({ name, expected }) => `Option ${name.replaceAll("-", "_")} expects ${expected}`,
  }),
  ERR_CPR_PARAMETER_WORD: defineError<{ name: string; value: string; known: readonly string[] }>({
    category: "usage",
    when: "A migration parameter is given a word that it does not know.",
    message: ({ name, value }) => `Parameter '${name}' does not accept value '${value}'`,
    hint: (details) => `Known: ${details.known.join(", ")}.`,
  }),
  ERR_CPR_PARAMETER_TYPE: defineError<{ name: string; expected: string }>({
    category: "usage",
    when: "A program gives a migration parameter a value of another type than it has.",
    message: ({ name, expected }) =>
      expected === "uint64"
        ? `Parameter '${name}' expects uint64`
        : `Invalid parameter type for '${name}', expected: ${expected}`,
  }),
  ERR_CPR_NOT_EXPECTED_STATE: defineError<{ status: string; expected: string }>({
    category: "refused",
    when: "`migrate-continue` for another state than the migration is in.",
    message: ({ status }) => `Migration not in expected state: ${status}`,
    hint: () => "A migration waits in pre-switchover if the capability pause-before-switchover is on.",
  }),
  ERR_CPR_MIGRATION_CANCELLED: defineError<None>({
    category: "refused",
    when: "`migrate_cancel`, or the end of the VM, while a migration is under way.",
    message: () => "The migration was cancelled",
  }),
  ERR_CPR_SAVE: defineError<{ uri: string; reason: string }>({
    category: "internal",
    when: "Saving failed for a reason that has no code of its own. The VM is as it was before.",
    message: ({ uri, reason }) => `Saving to '${uri}' failed: ${reason}`,
  }),
  ERR_CPR_LOAD: defineError<{ uri: string; reason: string }>({
    category: "internal",
    when: "Loading failed for a reason that has no code of its own. The VM still waits and can be told to load again.",
    message: ({ uri, reason }) => `load of migration failed: '${uri}': ${reason}`,
  }),
  ERR_CPR_BINDING_WRITE: defineError<{ id: string; path: string; reason: string }>({
    category: "host",
    when: "The file that tells to which checkpoint RAM in place belongs cannot be written or removed.",
    message: ({ path, reason }) => `Could not write '${path}': ${reason}`,
    hint: ({ id }) => `It binds memory object '${id}' to its checkpoint; its folder must be writable.`,
  }),
  ERR_CPR_PLACE_IS_RAM: defineError<{ uri: string; id: string }>({
    category: "refused",
    when: "The place that a VM is to be saved to is the file that its RAM is in.",
    message: ({ uri, id }) => `'${uri}' is the RAM of this VM (memory object '${id}'), which would be lost`,
    hint: () => "Choose another place for the checkpoint.",
  }),
  ERR_CPR_RAM_LOST_AT_REBOOT: defineError<{ id: string; location: string }>({
    category: "refused",
    when: "A checkpoint is to outlive a reboot of the host, and RAM that would stay in place does not.",
    message: ({ id, location }) =>
      `RAM '${id}' (${location}) would stay in place, and would be lost when the host is rebooted`,
    hint: () =>
      "Give the VM RAM that outlives that: a DAX device (mem-path=/dev/dax0.0), a file on persistent memory, or one on a disk. Or copy it: switch x-ignore-shared off, or cpr save --copy-ram.",
  }),
  ERR_CPR_MARK_LOST_AT_REBOOT: defineError<{ id: string; path: string }>({
    category: "refused",
    when: "A checkpoint is to outlive a reboot of the host, and what binds RAM in place to it does not.",
    message: ({ id, path }) =>
      `RAM '${id}' would outlive a reboot of the host, but '${path}', which binds it to its checkpoint, would not`,
    hint: () => "Start the VM with CPR_STATE_DIRECTORY set to a folder on a disk.",
  }),
  ERR_CPR_PLACE_LOST_AT_REBOOT: defineError<{ uri: string }>({
    category: "refused",
    when: "A checkpoint is to outlive a reboot of the host, and the place that it is to be saved to does not.",
    message: ({ uri }) =>
      `A checkpoint at '${uri}' would be lost when the host is rebooted: that is in the host's memory`,
    hint: () => "Save it to a disk.",
  }),
  ERR_CPR_RAM_FILE_LOST: defineError<{ id: string; path: string }>({
    category: "host",
    when: "RAM was to stay in place, but its file was removed or replaced while the VM used it.",
    message: ({ id, path }) =>
      `'${path}' (memory object '${id}') was removed or replaced while the VM used it: RAM left there would be lost`,
    hint: () => "Switch x-ignore-shared off: then RAM is copied into the checkpoint.",
  }),
  ERR_CPR_HOST_FILE: defineError<{ id: string; path: string; reason: string }>({
    category: "host",
    when: "A file that the state of a device depends on cannot be looked at when the VM is saved or loaded.",
    message: ({ id, path, reason }) => `Could not look at '${path}' (${id}): ${reason}`,
  }),
  ERR_CPR_HOST_FILE_CHANGED: defineError<{ id: string; path: string; changes: readonly string[] }>({
    category: "checkpoint",
    when: "A file that the state of a device depends on is not what it was when the VM was saved.",
    message: ({ id, path, changes }) =>
      `'${path}' (${id}) has changed since the checkpoint was written: ${changes.join("; ")}`,
    hint: ({ id }) =>
      `The guest may damage it. If it is right as it is, say so: \`migrate_set_parameter x-accept-changed-files ${id}\``,
  }),
  ERR_CPR_RAM_MOVED_ON: defineError<{ id: string; location: string; mark?: string | undefined; rebooted?: Rebooted }>({
    category: "checkpoint",
    when: "RAM in place is not what it was when the checkpoint was written: the VM has run since, or it is another VM's.",
    message: ({ id, location }) =>
      `The RAM in '${location}' (memory object '${id}') does not belong to this checkpoint: it was used since, or by another VM`,
    hint: ({ mark, rebooted }) =>
      rebooted !== undefined && mark !== undefined
        ? `The host was rebooted since. Check that all file systems are mounted as before, and that CPR_STATE_DIRECTORY is the same: what binds this RAM to its checkpoint is looked for in '${mark}'. RAM that is no persistent memory is lost when the power fails.`
        : "Only the last checkpoint of a VM can be loaded with its RAM in place.",
  }),
  ERR_CPR_RAM_GONE: defineError<{
    id: string;
    location: string;
    /** It was made when this VM was started. */
    created: boolean;
    survivesReboot: boolean;
    rebooted: Rebooted;
  }>({
    category: "checkpoint",
    when: "RAM that a checkpoint left in place is not there any more: the file was made anew when the VM was started, or the host was rebooted since.",
    message: ({ id, location, created, survivesReboot, rebooted }) => {
      const found = created
        ? `'${location}' was not there: it was made just now and is empty`
        : `what is in '${location}' now is not that RAM`;
      const why =
        rebooted === undefined
          ? ""
          : `. The host was rebooted since the checkpoint was written (for a ${rebooted})${survivesReboot ? "" : ", and RAM there does not outlive that"}`;
      return `The checkpoint left memory object '${id}' in place, but ${found}${why}`;
    },
    hint: ({ survivesReboot, rebooted }) =>
      rebooted === undefined
        ? "A file on tmpfs is gone after a reboot of the host. Check the path; the file of another path may still be there."
        : survivesReboot || rebooted === "reboot"
          ? "Check that the file system of the RAM is mounted as before, and the path."
          : "The guest has to be started anew. `cpr save --for reboot` (migrate_set_parameter x-checkpoint-for reboot) refuses in time to leave RAM where a reboot loses it.",
  }),
  ERR_CPR_RAM_NOT_IN_PLACE: defineError<{ id: string; location: string }>({
    category: "checkpoint",
    when: "A checkpoint leaves RAM in place, but the VM was given RAM that does not outlive a process.",
    message: ({ id, location }) =>
      `The checkpoint leaves memory object '${id}' in place, but here it is '${location}', which starts empty`,
    hint: () => "Start with the same `-object`, with share=on, as when the checkpoint was written.",
  }),
  ERR_CPR_TRANSPORT_SEEKABLE: defineError<{ uri: string }>({
    category: "refused",
    when: "The capability `mapped-ram` with a transport that takes no positions.",
    message: () => "Migration requires seekable transport (e.g. file)",
    hint: ({ uri }) => `'${uri}' goes from start to end. Use a URI that takes positions, or switch mapped-ram off.`,
  }),
  ERR_CPR_TRANSPORT_CHANNELS: defineError<{ uri: string }>({
    category: "refused",
    when: "The capability `multifd` without `mapped-ram`, or with a transport that several threads cannot use.",
    message: () => "Migration requires multi-channel URIs (e.g. tcp)",
    hint: () =>
      "Here multifd works with mapped-ram and a URI that takes positions. A stream through several connections is not supported.",
  }),
  ERR_CPR_TRANSPORT_DIRECT: defineError<{ uri: string }>({
    category: "refused",
    when: "The capability `multifd` with `direct-io` and a transport that has no further descriptors.",
    message: () => "Migration requires a transport that allows for extra fds (e.g. file)",
    hint: ({ uri }) => `'${uri}' has one descriptor. Use a URI that takes positions, or switch direct-io off.`,
  }),
  ERR_CPR_NOTHING_STORED: defineError<{ uri: string }>({
    category: "refused",
    when: "A checkpoint is to be inspected at a URI whose transport streams from one process to another.",
    message: ({ uri }) => `'${uri}' keeps no checkpoint that could be looked at`,
  }),
  ERR_CPR_RAM_COPY_THREAD: defineError<{ reason: string }>({
    category: "internal",
    when: "A thread that copies RAM ended or threw an error that nobody expected.",
    message: ({ reason }) => `A thread that copies RAM failed: ${reason}`,
  }),
});
