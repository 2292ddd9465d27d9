import { isCprError, type MonitorContext, type MonitorConversation } from "@cpr/core";
import { forPeople, parseLine, spellingsOf } from "./parse-line.ts";

/** The answer to one line. */
export interface MonitorAnswer {
  /** Lines for the person, without the final line feed; empty if there is nothing to say. */
  readonly text: string;
  /** The line could not be carried out. */
  readonly failed: boolean;
}

/**
 * The human monitor (QEMU: HMP): takes lines, carries out commands, answers in text. It knows no command by name;
 * plugins contribute them.
 */
export class HumanMonitor {
  readonly #context: MonitorContext;

  constructor(context: Omit<MonitorContext, "conversation">) {
    this.#context = { ...context, conversation: { audience: "people" } };
  }

  /**
   * Carries out one line. It never rejects: a failure is an answer.
   *
   * @param progress - shows how far a command is that takes long.
   */
  async execute(line: string, progress?: MonitorConversation["progress"]): Promise<MonitorAnswer> {
    if (line.trim() === "" || line.trim().startsWith("#")) {
      return { text: "", failed: false };
    }
    try {
      const { command, values } = parseLine(line, this.#context.commands);
      const conversation = { audience: "people", ...(progress === undefined ? {} : { progress }) } as const;
      const result = await command.execute({ ...this.#context, conversation }, values);
      return { text: command.print?.(result) ?? "", failed: false };
    } catch (error) {
      return { text: describeError(error), failed: true };
    }
  }

  /** Gives up what a person waits for: the migration that is under way. */
  interrupt(): void {
    void this.#context.machine.migrateCancel();
  }

  /** Completions of a line, in the form that `node:readline` wants. */
  complete(line: string): [string[], string] {
    const typed = line.trimStart();
    const spellings = this.#context.commands.flatMap(spellingsOf).filter((spelling) => spelling.startsWith(typed));
    if (spellings.length > 0) {
      return [spellings.sort(), typed];
    }
    for (const command of this.#context.commands) {
      for (const spelling of spellingsOf(command)) {
        if (typed.startsWith(`${spelling} `)) {
          const words = typed.slice(spelling.length + 1).split(/\s+/);
          const last = words.at(-1) ?? "";
          const positional = forPeople(command).filter(({ type }) => type !== "flag");
          const argument = positional[words.filter((word) => !word.startsWith("-")).length - 1];
          const values = argument?.type === "boolean" ? ["on", "off"] : (argument?.complete?.(this.#context) ?? []);
          return [values.filter((value) => value.startsWith(last)), last];
        }
      }
    }
    return [[], typed];
  }
}

/** What a person reads of an error: its message and, on a second line, what can be done. */
export function describeError(error: unknown): string {
  if (isCprError(error)) {
    return `Error: ${error.message}${error.hint === undefined ? "" : `\n${error.hint}`}`;
  }
  return `Error: ${error instanceof Error ? error.message : String(error)}`;
}
