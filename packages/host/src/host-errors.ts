import { defineError, defineErrors } from "@cpr/core";

/** What can be wrong with the registered VMs of a host. */
export const hostErrors = defineErrors({
  ERR_CPR_HOST_NAME: defineError<{ name: string }>({
    category: "usage",
    when: "`cpr host add` with a name that cannot be the name of a folder and of a systemd unit.",
    message: ({ name }) => `'${name}' cannot be the name of a VM`,
    hint: () => "A name has up to 64 letters, digits, dots, dashes and underscores, and begins with a letter or digit.",
  }),
  ERR_CPR_HOST_OPTION: defineError<{ option: string; reason: string }>({
    category: "usage",
    when: "`cpr host add` with an option of `cpr run` that a registered VM cannot have.",
    message: ({ option, reason }) => `A registered VM cannot have ${option}: ${reason}`,
  }),
  ERR_CPR_HOST_NAME_TAKEN: defineError<{ name: string }>({
    category: "refused",
    when: "`cpr host add` with the name of a VM that is registered already.",
    message: ({ name }) => `VM '${name}' is registered already`,
    hint: ({ name }) => `Stop it, and give \`cpr host remove ${name}\`, to register another one.`,
  }),
  ERR_CPR_HOST_UNKNOWN: defineError<{ name: string; known: readonly string[] }>({
    category: "input",
    when: "A command of `cpr host` names a VM that is not registered.",
    message: ({ name }) => `There is no registered VM '${name}'`,
    hint: ({ known }) => (known.length === 0 ? "None is registered." : `Registered: ${known.join(", ")}.`),
  }),
  ERR_CPR_HOST_DEFINITION: defineError<{ name: string; path: string; reason: string }>({
    category: "input",
    when: "The file that says what a registered VM is cannot be read or is no such file.",
    message: ({ name, path, reason }) => `VM '${name}': '${path}' cannot be used: ${reason}`,
  }),
  ERR_CPR_HOST_FOLDER: defineError<{ path: string; reason: string }>({
    category: "host",
    when: "The folder of the registered VMs cannot be read or written.",
    message: ({ path, reason }) => `Could not use '${path}': ${reason}`,
    hint: () => "Registered VMs are those of the user who runs the command; root's are in /var/lib/cpr.",
  }),
  ERR_CPR_HOST_BUSY: defineError<{ path: string }>({
    category: "busy",
    when: "Another `cpr host` command is at work on the registered VMs.",
    message: () => "Another command works on the registered VMs",
    hint: () => "Wait for its end, and give the command again.",
  }),
  ERR_CPR_HOST_RUNNING: defineError<{ name: string; pid: number }>({
    category: "refused",
    when: "`cpr host remove` or `discard` of a VM whose process is there.",
    message: ({ name, pid }) => `VM '${name}' has a process: ${pid}`,
    hint: () => "End it first: `system_powerdown` or `quit` in its monitor.",
  }),
  ERR_CPR_HOST_SAVED: defineError<{ name: string; path: string }>({
    category: "refused",
    when: "A VM that has a checkpoint is to be started afresh, or removed.",
    message: ({ name, path }) => `VM '${name}' has a checkpoint: '${path}'`,
    hint: ({ name }) =>
      `\`cpr host load ${name}\` carries it on; \`cpr host discard ${name}\` removes the checkpoint, and what the guest had not written elsewhere is lost.`,
  }),
  ERR_CPR_HOST_UNSETTLED: defineError<{ name: string; path: string }>({
    category: "refused",
    when: "A VM is to be loaded whose checkpoint a process had already when it ended, so that the guest may have run since.",
    message: ({ name, path }) =>
      `VM '${name}' may have run since its checkpoint was made: a process had '${path}', and ended before it could be told`,
    hint: ({ name }) =>
      `\`cpr host load --again ${name}\` loads it if you know that it has not, or want it as it was; \`cpr host discard ${name}\` removes the checkpoint.`,
  }),
  ERR_CPR_HOST_START: defineError<{ name: string; reason: string; advice?: string }>({
    category: "internal",
    when: "The process of a registered VM ended before the VM was there.",
    message: ({ name, reason }) => `VM '${name}' did not start: ${reason}`,
    hint: ({ advice = "" }) => advice,
  }),
  ERR_CPR_HOST_TIMEOUT: defineError<{ name: string; seconds: number; what: string }>({
    category: "internal",
    when: "A registered VM was not started, saved or loaded within its timeout.",
    message: ({ name, seconds, what }) => `VM '${name}' was not ${what} within ${seconds} s`,
    hint: () => "`cpr host add --timeout` sets how long a VM may take.",
  }),
  ERR_CPR_HOST_NO_ROOM: defineError<{ name: string; needed: number; free: number; path: string }>({
    category: "host",
    when: "RAM that does not stay in place has no room in the checkpoint of a registered VM.",
    message: ({ name, needed, free, path }) =>
      `VM '${name}' has ${needed} bytes of RAM to copy, and there are ${free} bytes free at '${path}'`,
    hint: () => "Make room, or put the VM's RAM where it survives a reboot: on a DAX device.",
  }),
  ERR_CPR_HOST_FAILED: defineError<{ failed: readonly string[]; total: number }>({
    category: "internal",
    when: "Some of the VMs that a command of `cpr host` worked on failed; the report says why.",
    message: ({ failed, total }) => `${failed.length} of ${total} VMs failed: ${failed.join(", ")}`,
  }),
});
