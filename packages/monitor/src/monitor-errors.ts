import { defineError, defineErrors } from "@cpr/core";

/** What can be wrong with a line that was typed at the monitor. */
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
});
