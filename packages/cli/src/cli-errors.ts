import { defineError, defineErrors } from "@cpr/core";

/** What can be wrong with the command line, beyond what commander finds. */
export const cliErrors = defineErrors({
  ERR_CPR_OPTION_VALUE: defineError<{ option: string; value: string; expected: string }>({
    category: "usage",
    when: "An option of the command line has a value that it does not take.",
    message: ({ option, value }) => `Invalid value '${value}' for -${option}`,
    hint: ({ option, expected }) => `-${option} takes ${expected}.`,
  }),
  ERR_CPR_OPTION_SYNTAX: defineError<{ option: string; value: string; reason: string }>({
    category: "usage",
    when: "An option of the command line is not of the form `first,key=value,…`.",
    message: ({ option, value, reason }) => `-${option} ${value}: ${reason}`,
    hint: () => "Separate parameters by commas; a comma in a value is written twice.",
  }),
  ERR_CPR_DEVICE_ID: defineError<{ id: string }>({
    category: "usage",
    when: "The id that `-device` gives is no identifier.",
    message: () => "Parameter 'id' expects an identifier",
    hint: () => "Identifiers consist of letters, digits, '-', '.', '_', starting with a letter.",
  }),
  ERR_CPR_DEVICE_ID_DUPLICATE: defineError<{ id: string }>({
    category: "usage",
    when: "Two `-device` have the same id.",
    message: ({ id }) => `Duplicate ID '${id}' for device`,
    hint: () => "Every device needs an id of its own.",
  }),
  ERR_CPR_DEVICE_MODEL: defineError<{ model: string; known: readonly string[] }>({
    category: "usage",
    when: "`-device MODEL,help` asks about a model that there is not.",
    message: ({ model }) => `'${model}' is not a valid device model name`,
    hint: (details) => `Known: ${details.known.join(", ")}.`,
  }),
  ERR_CPR_BLOCK_PARAMETER: defineError<{
    option: string;
    parameter: string;
    problem: string;
    value?: string;
    known?: readonly string[];
  }>({
    category: "usage",
    when: "A parameter of `-drive` or `-blockdev` is missing, unknown, or has a value that it cannot have.",
    message: ({ parameter, problem }) => `Parameter '${parameter}' ${problem}`,
    hint: ({ option, value, known = [] }) =>
      `In -${option}${value === undefined ? "" : ` ${value}`}.${known.length === 0 ? "" : ` Known here: ${known.join(", ")}.`}`,
  }),
  ERR_CPR_RECORD_REPLAY: defineError<{ value: string }>({
    category: "refused",
    when: "`-icount …,rr=record` or `rr=replay`: a VM that is recorded or replayed could not be saved.",
    message: () => "Record/replay is not supported",
    hint: () => "Leave -icount out.",
  }),
  ERR_CPR_ADD_FD: defineError<{ value: string; problem: string }>({
    category: "usage",
    when: "`-add-fd` names no descriptor that the process was started with, or no set.",
    message: ({ problem }) => problem,
    hint: () =>
      "-add-fd takes fd=NUMBER,set=NUMBER[,opaque=TEXT]; start the process with the descriptor, e.g. 9>vm.state.",
  }),
  ERR_CPR_SUSPEND_STATE: defineError<{ status: string }>({
    category: "refused",
    when: "`cpr save --suspend-guest` of a VM whose guest cannot do anything, because it does not run.",
    message: ({ status }) => `The guest cannot suspend itself: the VM is ${status}`,
    hint: () => "Let it run with cont, or save it without --suspend-guest.",
  }),
  ERR_CPR_SUSPEND_TIMEOUT: defineError<{ seconds: number }>({
    category: "refused",
    when: "`cpr save --suspend-guest`: the guest's agent has taken the command, and the guest did not suspend itself in time.",
    message: ({ seconds }) => `The guest did not suspend itself within ${seconds} s`,
    hint: () =>
      "Give it more time with --suspend-timeout, or look into the guest's log. The guest runs on; if it sleeps later, " +
      "system_wakeup wakes it.",
  }),
  ERR_CPR_SECTION_UNKNOWN: defineError<{ name: string; known: readonly string[] }>({
    category: "input",
    when: "`cpr inspect --section` names a section that the checkpoint does not have.",
    message: ({ name }) => `The checkpoint has no section '${name}'`,
    hint: (details) => `Sections: ${details.known.join(", ")}.`,
  }),
  ERR_CPR_SETTING: defineError<{ name: string; reason: string }>({
    category: "usage",
    when: "`--set` names a migration parameter that the VM does not take.",
    message: ({ reason }) => reason,
    hint: ({ name }) => `--set ${name}=… is what migrate_set_parameter takes.`,
  }),
  ERR_CPR_HOST_NOT_READY: defineError<{ lacking: readonly string[] }>({
    category: "host",
    when: "`cpr doctor` has found that this host lacks what every use of cpr needs.",
    message: ({ lacking }) => `This host cannot ${lacking.join(", nor ")}`,
    hint: () => "What is missing, and what to do about it, is said above.",
  }),
  ERR_CPR_CHARDEV: defineError<{ option: string; value: string; problem: string }>({
    category: "usage",
    when: "A character device is described in a way that makes none: `-chardev`, or the short form of `-serial`, `-monitor` or `-qmp`.",
    message: ({ option, value, problem }) => `-${option} ${value}: ${problem}`,
    hint: () =>
      "There are: socket,id=ID,path=PATH,server=on,wait=off; socket,id=ID,host=HOST,port=PORT; stdio,id=ID; " +
      "file,id=ID,path=PATH; pty,id=ID; null,id=ID.",
  }),
  ERR_CPR_CHARDEV_DUPLICATE: defineError<{ id: string }>({
    category: "usage",
    when: "Two character devices have the same id.",
    message: ({ id }) => `Duplicate ID '${id}' for chardev`,
    hint: () => "Serial ports that are not chardev:ID have the ids serial0, serial1 and so on.",
  }),
  ERR_CPR_CHARDEV_CONNECT: defineError<{ address: string; reason: string }>({
    category: "input",
    when: "Nobody listens at the socket that a character device is to connect to.",
    message: ({ address, reason }) => `Failed to connect to '${address}': ${reason}`,
    hint: () => "Start the program that listens there first, or let cpr listen: server=on,wait=off.",
  }),
  ERR_CPR_CHARDEV_LISTEN: defineError<{ address: string; reason: string }>({
    category: "input",
    when: "A character device cannot listen at its TCP port.",
    message: ({ address, reason }) => `Failed to bind socket to ${address}: ${reason}`,
    hint: () => "Choose an address of this host and a port that no other process has.",
  }),
  ERR_CPR_CHARDEV_TERMINAL: defineError<{ reason: string }>({
    category: "host",
    when: "A pseudoterminal for a character device cannot be made.",
    message: ({ reason }) => `Failed to create a pseudoterminal: ${reason}`,
    hint: () =>
      "It needs /dev/ptmx, and the addon of @cpr/native-socket, which needs g++, make and python3 to be compiled.",
  }),
  ERR_CPR_OUTPUT_FILE: defineError<{ path: string; reason: string }>({
    category: "input",
    when: "A file for the guest's output cannot be created.",
    message: ({ path, reason }) => `Could not write to '${path}': ${reason}`,
    hint: () => "Check that the directory exists and can be written.",
  }),
});
