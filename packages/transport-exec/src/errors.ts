import { defineError, defineErrors } from "@cpr/core";

type CommandFailure = {
  readonly uri: string;
  readonly command: string;
  /** `exit status 3`, `signal SIGKILL`, or why it could not be started. */
  readonly reason: string;
  /** The last lines that the command wrote to its standard error. */
  readonly stderr: string;
};

/** What can go wrong with `exec:` URIs. */
export const execErrors = defineErrors({
  ERR_CPR_EXEC_URI: defineError<{ uri: string }>({
    category: "usage",
    when: "An `exec:` URI has no command.",
    message: ({ uri }) => `'${uri}' has no command`,
    hint: () => "An exec URI is exec:COMMAND, e.g. exec:gzip -c > vm.state.gz",
  }),
  ERR_CPR_EXEC_FAILED: defineError<CommandFailure>({
    category: "input",
    when: "The command of an `exec:` URI ended with an exit status other than 0, or by a signal.",
    message: ({ command, reason, stderr }) =>
      `The command '${command}' failed with ${reason}${stderr === "" ? "" : `: ${stderr}`}`,
  }),
  ERR_CPR_EXEC_EARLY: defineError<CommandFailure>({
    category: "input",
    when: "The command of an `exec:` URI ended with exit status 0 before it had read all of the stream.",
    message: ({ command, stderr }) =>
      `Unable to write to command: Broken pipe: '${command}' ended before it had read everything${stderr === "" ? "" : `: ${stderr}`}`,
    hint: () => "The command must read its standard input to the end, e.g. exec:cat > vm.state",
  }),
});
