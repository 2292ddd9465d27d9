import { defineError, defineErrors } from "@cpr/core";

type None = Record<string, never>;

/** What can be wrong with what is said to a monitor, or with the place where one listens. */
export const monitorErrors = defineErrors({
  ERR_CPR_MONITOR_UNKNOWN_COMMAND: defineError<{ command: string; near: readonly string[] }>({
    category: "usage",
    when: "A monitor line begins with no known command.",
    message: ({ command }) => `unknown command: '${command}'`,
    hint: ({ near }) => (near.length > 0 ? `Did you mean ${near.join(", ")}?` : "'help' lists the commands."),
  }),
  ERR_CPR_MONITOR_ARGUMENT: defineError<{ command: string; problem: string; usage: string }>({
    category: "usage",
    when: "A monitor command's argument is missing, malformed or one too many.",
    message: ({ command, problem }) => `${command}: ${problem}`,
    hint: ({ usage }) => `Usage: ${usage}`,
  }),
  ERR_CPR_QMP_SYNTAX: defineError<{ problem: string }>({
    category: "usage",
    when: "What a QMP client sends is not JSON.",
    message: ({ problem }) => `JSON parse error, ${problem}`,
  }),
  ERR_CPR_QMP_INPUT: defineError<{ problem: string }>({
    category: "usage",
    when: "What a QMP client sends is no QMP command.",
    message: ({ problem }) => problem,
    hint: () => 'A command is {"execute": NAME, "arguments": {…}, "id": …}.',
  }),
  ERR_CPR_QMP_NOT_NEGOTIATED: defineError<None>({
    category: "usage",
    when: "A QMP client's first command is another one than `qmp_capabilities`.",
    message: () => "Expecting capabilities negotiation with 'qmp_capabilities'",
  }),
  ERR_CPR_QMP_NEGOTIATED: defineError<None>({
    category: "usage",
    when: "A QMP client sends `qmp_capabilities` a second time.",
    message: () => "Capabilities negotiation is already complete, command ignored",
  }),
  ERR_CPR_QMP_CAPABILITY: defineError<{ name: string }>({
    category: "refused",
    when: "A QMP client enables a capability of the protocol that the greeting did not offer.",
    message: ({ name }) => `Capability ${name} not available`,
  }),
  ERR_CPR_QMP_COMMAND_NOT_FOUND: defineError<{ command: string }>({
    category: "usage",
    when: "A QMP client sends a command that there is not.",
    message: ({ command }) => `The command ${command} has not been found`,
    hint: () => "query-commands lists the commands.",
  }),
  ERR_CPR_QMP_ARGUMENT: defineError<{ problem: string }>({
    category: "usage",
    when: "An argument of a QMP command is missing, of the wrong type or one too many.",
    message: ({ problem }) => problem,
  }),
  ERR_CPR_MONITOR_NO_DESCRIPTOR: defineError<{ possible: boolean }>({
    category: "usage",
    when: "`add-fd` or `getfd` without an open descriptor that comes with it.",
    message: () => "No file descriptor supplied via SCM_RIGHTS",
    hint: ({ possible }) =>
      possible
        ? "Send the descriptor together with the command (sendmsg with SCM_RIGHTS)."
        : "Descriptors can be received by -qmp unix:PATH only, and only if the addon of @cpr/native-socket was compiled, which " +
          "needs g++, make and python3. -add-fd takes descriptors that the process inherits.",
  }),
  ERR_CPR_BALLOON_TARGET: defineError<None>({
    category: "usage",
    when: "`balloon` asks the guest to have no RAM at all.",
    message: () => "Parameter 'target' expects a size",
  }),
  ERR_CPR_CHANNELS: defineError<{ problem: string }>({
    category: "usage",
    when: "`migrate` or `migrate-incoming` is told no URI, or channels that make none.",
    message: ({ problem }) => problem,
    hint: () => "Give a uri, e.g. file:vm.state, or one channel of type main.",
  }),
  ERR_CPR_NOTHING_TO_RESUME: defineError<None>({
    category: "refused",
    when: "`migrate` with `resume`: there is no postcopy migration here that could have paused.",
    message: () => "Cannot resume if there is no paused migration",
  }),
  ERR_CPR_SAVE_COLO: defineError<None>({
    category: "refused",
    when: "`cpr-save` while the capability `x-colo` is on.",
    message: () => "cpr-save does not support x-colo",
    hint: () => "Switch it off with migrate-set-capabilities.",
  }),
  ERR_CPR_SAVE_ENDED: defineError<{ reason: string }>({
    category: "refused",
    when: "A checkpoint that `cpr-save` had begun was cancelled.",
    message: ({ reason }) => `Error while saving VM state: ${reason}`,
  }),
  ERR_CPR_LOAD_RUNNING: defineError<None>({
    category: "refused",
    when: "`cpr-load` in a VM that runs.",
    message: () => "cpr-load called for a running VM",
    hint: () => "Start the VM with -incoming defer.",
  }),
  ERR_CPR_LOAD_FOREIGN: defineError<{ filename: string }>({
    category: "checkpoint",
    when: "`cpr-load` of a file that is no checkpoint.",
    message: ({ filename }) => `${filename} is not a vmstate file`,
  }),
  ERR_CPR_MONITOR_LISTEN: defineError<{ path: string; reason: string }>({
    category: "input",
    when: "The Unix socket of a monitor or a character device cannot be made.",
    message: ({ path, reason }) => `Failed to bind socket to ${path}: ${reason}`,
    hint: () => "Check that the folder exists and can be written, and that nothing but a socket has this name.",
  }),
  ERR_CPR_MONITOR_SOCKET_BUSY: defineError<{ path: string }>({
    category: "busy",
    when: "Another process listens at the Unix socket of a monitor or a character device.",
    message: ({ path }) => `Failed to bind socket to ${path}: Address already in use`,
    hint: () => "Give each VM a socket of its own, or quit the other VM.",
  }),
  ERR_CPR_AGENT_CONNECT: defineError<{ path: string; reason: string }>({
    category: "input",
    when: "Nobody listens at the socket where a guest's agent is to be reached.",
    message: ({ path, reason }) => `Failed to connect to the guest agent at '${path}': ${reason}`,
    hint: () =>
      "Start the VM with -chardev socket,id=qga0,path=PATH,server=on,wait=off -device virtio-serial-pci " +
      "-device virtserialport,chardev=qga0,name=org.qemu.guest_agent.0, and name PATH with --agent.",
  }),
  ERR_CPR_AGENT_SILENT: defineError<{ path: string }>({
    category: "refused",
    when: "A guest's agent does not answer: there is none in the guest, or another program of the host is connected to it.",
    message: ({ path }) => `The guest agent at '${path}' does not answer`,
    hint: () =>
      "Install and start qemu-guest-agent in the guest, and end what else is connected to the agent. The guest runs on.",
  }),
  ERR_CPR_AGENT_CLOSED: defineError<{ path: string }>({
    category: "input",
    when: "The connection to a guest's agent ended before what it was for was done.",
    message: ({ path }) => `The connection to the guest agent at '${path}' was closed`,
    hint: () => "The VM's process has ended, or serves one connection only.",
  }),
  ERR_CPR_AGENT_REFUSED: defineError<{ path: string; command: string; class: string; reason: string }>({
    category: "refused",
    when: "A guest's agent could not do what it was told.",
    message: ({ command, reason }) => `The guest agent refused ${command}: ${reason}`,
    hint: () => "The log of qemu-guest-agent in the guest may tell more. The guest runs on.",
  }),
  ERR_CPR_AGENT_NO_SUSPEND: defineError<{ path: string; reason: string }>({
    category: "refused",
    when: "The guest cannot be suspended to RAM, or its agent does not know how.",
    message: ({ reason }) => `The guest cannot suspend to RAM: ${reason}`,
    hint: () =>
      "In a Linux guest, /sys/power/mem_sleep must name 'deep'. A guest that was booted before cpr had S3 has it " +
      "after a reboot. Without --suspend-guest it is saved as it runs.",
  }),
  ERR_CPR_QMP_CONNECT: defineError<{ path: string; reason: string }>({
    category: "input",
    when: "Nobody listens at the QMP socket that a client was told.",
    message: ({ path, reason }) => `Failed to connect to '${path}': ${reason}`,
    hint: () => "The VM must run and have been started with -qmp unix:PATH,server=on,wait=off.",
  }),
  ERR_CPR_QMP_NO_DESCRIPTORS: defineError<{ command: string }>({
    category: "host",
    when: "A QMP client is to send an open descriptor, and the addon for sockets was not compiled.",
    message: ({ command }) => `The descriptor for ${command} cannot be sent`,
    hint: () => "Install g++, make and python3, and install @cpr/native-socket again.",
  }),
  ERR_CPR_QMP_CLOSED: defineError<{ path: string }>({
    category: "input",
    when: "The other side of a QMP connection ended it before it answered.",
    message: ({ path }) => `The connection to '${path}' was closed`,
  }),
  ERR_CPR_QMP_PROTOCOL: defineError<{ path: string; problem: string }>({
    category: "input",
    when: "What listens at a QMP client's socket does not speak QMP.",
    message: ({ path, problem }) => `'${path}' is no QMP server: ${problem}`,
  }),
  ERR_CPR_QMP_REFUSED: defineError<{ command: string; class: string; reason: string }>({
    category: "refused",
    when: "A QMP server that tells no code, such as QEMU, refuses a client's command.",
    message: ({ reason }) => reason,
  }),
});
