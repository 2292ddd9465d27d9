import type { MonitorArgument, MonitorCommand } from "@cpr/core";
import { monitorErrors } from "./monitor-errors.ts";

/** A line that was understood. */
export interface ParsedLine {
  readonly command: MonitorCommand;
  readonly values: Readonly<Record<string, unknown>>;
}

/** The arguments that people can give. */
export function forPeople(command: MonitorCommand): readonly MonitorArgument[] {
  return command.arguments.filter(({ onlyFor }) => onlyFor !== "programs");
}

/** How a command is written by a person: its words, and each argument, e.g. `migrate`, `[-d]`, `uri`. */
export function usageOf(command: MonitorCommand): readonly string[] {
  const words = forPeople(command).map((argument) => {
    const text = argument.type === "flag" ? `-${argument.letter}` : argument.name;
    return argument.optional === true || argument.type === "flag" ? `[${text}]` : text;
  });
  return [command.words ?? command.name, ...words];
}

/** All the ways in which people may begin a line that means this command. */
export function spellingsOf(command: MonitorCommand): readonly string[] {
  return command.words === undefined ? [] : [command.words, ...(command.aliases ?? [])];
}

/**
 * Finds the command that a line begins with and takes its arguments apart. Arguments are separated by blanks; one
 * that contains blanks is written in double quotes, with `\"` and `\\` inside.
 *
 * @throws {CprError} ERR_CPR_MONITOR_UNKNOWN_COMMAND, ERR_CPR_MONITOR_ARGUMENT
 */
export function parseLine(line: string, commands: readonly MonitorCommand[]): ParsedLine {
  const text = line.trim();
  let found: { command: MonitorCommand; length: number } | undefined;
  for (const command of commands) {
    for (const spelling of spellingsOf(command)) {
      const matches = text === spelling || text.startsWith(`${spelling} `);
      if (matches && spelling.length > (found?.length ?? 0)) {
        found = { command, length: spelling.length };
      }
    }
  }
  if (found === undefined) {
    const first = text.split(/\s+/, 1)[0] ?? "";
    const near = commands.flatMap(spellingsOf).filter((spelling) => spelling.startsWith(first));
    throw monitorErrors.ERR_CPR_MONITOR_UNKNOWN_COMMAND({ command: text, near: first === "" ? [] : near });
  }
  return { command: found.command, values: parseArguments(found.command, text.slice(found.length)) };
}

function parseArguments(command: MonitorCommand, text: string): Record<string, unknown> {
  const fail = (problem: string) =>
    monitorErrors.ERR_CPR_MONITOR_ARGUMENT({
      command: command.words ?? command.name,
      problem,
      usage: usageOf(command).join(" "),
    });
  const values: Record<string, unknown> = {};
  let rest = text.trim();
  const flags = forPeople(command).filter(({ type }) => type === "flag");
  for (let match = /^-([a-zA-Z])(?:\s+|$)/.exec(rest); match !== null; match = /^-([a-zA-Z])(?:\s+|$)/.exec(rest)) {
    const flag = flags.find(({ letter }) => letter === match?.[1]);
    if (flag === undefined) {
      throw fail(`unsupported option -${match[1]}`);
    }
    values[flag.name] = true;
    rest = rest.slice(match[0].length);
  }
  for (const argument of forPeople(command).filter(({ type }) => type !== "flag")) {
    if (rest === "") {
      if (argument.optional !== true) {
        throw fail(`${argument.name} is missing`);
      }
      continue;
    }
    const { word, remaining } = takeWord(rest, argument, fail);
    values[argument.name] = convert(word, argument, fail);
    rest = remaining;
  }
  if (rest !== "") {
    throw fail(`extraneous characters at the end of line: '${rest}'`);
  }
  return values;
}

function takeWord(
  text: string,
  argument: MonitorArgument,
  fail: (problem: string) => Error,
): { word: string; remaining: string } {
  if (text.startsWith('"')) {
    const match = /^"((?:[^"\\]|\\.)*)"(?:\s+|$)/.exec(text);
    if (match === null) {
      throw fail("a quote is not closed");
    }
    return { word: (match[1] ?? "").replaceAll(/\\(.)/g, "$1"), remaining: text.slice(match[0].length) };
  }
  if (argument.rest === true) {
    return { word: text, remaining: "" };
  }
  const match = /^(\S+)\s*/.exec(text);
  return { word: match?.[1] ?? "", remaining: text.slice(match?.[0].length ?? 0) };
}

function convert(word: string, argument: MonitorArgument, fail: (problem: string) => Error): unknown {
  switch (argument.type) {
    case "integer":
      if (!/^(0x[0-9a-f]+|-?\d+)$/i.test(word)) {
        throw fail(`${argument.name} is not an integer: '${word}'`);
      }
      return Number(word);
    case "boolean":
      if (word !== "on" && word !== "off") {
        throw fail(`${argument.name} is 'on' or 'off', not '${word}'`);
      }
      return word === "on";
    default:
      return word;
  }
}
