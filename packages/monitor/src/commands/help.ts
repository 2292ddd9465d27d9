import type { MonitorCommand, MonitorContext } from "@cpr/core";
import { defineCommand } from "../define-command.ts";
import { monitorErrors } from "../monitor-errors.ts";
import { forPeople, spellingsOf, usageOf } from "../parse-line.ts";

/** One line about a command, as QEMU writes it: `quit|q  -- quit the emulator`. */
const describe = (command: MonitorCommand): string => {
  const [words = "", ...parameters] = usageOf(command);
  return `${[words, ...(command.aliases ?? [])].join("|")} ${parameters.join(" ")} -- ${command.summary}`;
};

const printLines = (result: unknown): string => (result as readonly string[]).join("\n");

const sorted = (commands: readonly MonitorCommand[]): readonly MonitorCommand[] =>
  commands
    .filter(({ words }) => words !== undefined)
    .sort((left, right) => (left.words as string).localeCompare(right.words as string));

/** `help` */
export const HelpCommand = defineCommand({
  name: "x-help",
  onlyFor: "people",
  words: "help",
  aliases: ["?"],
  summary: "show all commands, or one with its arguments",
  arguments: [
    {
      name: "command",
      type: "string",
      optional: true,
      rest: true,
      summary: "which one",
      complete: ({ commands }: MonitorContext) => [
        ...new Set(commands.flatMap(spellingsOf).flatMap((spelling) => spelling.split(" ", 1))),
      ],
    },
  ],
  execute: async ({ commands }, values) => {
    if (values.command === undefined) {
      return sorted(commands).map(describe);
    }
    const text = String(values.command);
    const wanted = commands.filter((command) =>
      spellingsOf(command).some((spelling) => spelling === text || spelling.startsWith(`${text} `)),
    );
    if (wanted.length === 0) {
      throw monitorErrors.ERR_CPR_MONITOR_UNKNOWN_COMMAND({ command: text, near: [] });
    }
    return sorted(wanted).flatMap((command) => [
      describe(command),
      ...forPeople(command).map(
        ({ name, letter, summary }) => `    ${letter === undefined ? name : `-${letter}`} -- ${summary}`,
      ),
    ]);
  },
  print: printLines,
});

/** `info` alone: what there is to know. */
export const InfoCommand = defineCommand({
  name: "x-info",
  onlyFor: "people",
  words: "info",
  summary: "show what 'info' can tell",
  arguments: [],
  execute: async ({ commands }) =>
    sorted(commands.filter(({ words }) => words?.startsWith("info ") === true)).map(describe),
  print: printLines,
});

/** `query-commands` */
export const QueryCommandsCommand = defineCommand({
  name: "query-commands",
  summary: "list the commands by their names for programs",
  arguments: [],
  execute: async ({ commands }) => commands.filter(({ onlyFor }) => onlyFor !== "people").map(({ name }) => ({ name })),
});
