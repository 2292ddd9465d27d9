import { extensionPoint } from "./plugin.ts";
import type { VirtualMachine } from "./virtual-machine.ts";

/** What a command may use. */
export interface MonitorContext {
  readonly machine: VirtualMachine;
  /** All commands that are known, for `help` and `query-commands`. */
  readonly commands: readonly MonitorCommand[];
}

/** An argument of a command. */
export interface MonitorArgument {
  readonly name: string;
  readonly type: "string" | "integer" | "boolean" | "flag";
  readonly optional?: boolean;
  /** For a flag: its letter, as in `migrate -d`. */
  readonly letter?: string;
  /** Takes the rest of the line, spaces included. */
  readonly rest?: boolean;
  readonly summary: string;
  /** Values for completion. */
  complete?(context: MonitorContext): readonly string[];
}

/**
 * One monitor command, for people (HMP) and programs (QMP) alike: `execute` does the work and returns data, `print`
 * turns the data into what a person reads.
 */
export interface MonitorCommand {
  /** QMP's name, e.g. `query-status`; the key under `provides`. */
  readonly name: string;
  /** HMP's words, e.g. `info status`; undefined if people have no use for it. */
  readonly words?: string;
  /** Shorter words, e.g. `q` for `quit`. */
  readonly aliases?: readonly string[];
  readonly summary: string;
  readonly arguments: readonly MonitorArgument[];
  /** @throws {CprError} with the text that the user sees. */
  execute(context: MonitorContext, values: Readonly<Record<string, unknown>>): Promise<unknown>;
  /** Lines for a person, without the final line feed; nothing is printed if absent. */
  print?(result: unknown): string;
}

export const MonitorCommand = extensionPoint<MonitorCommand>("monitor-command");
