import { extensionPoint } from "./plugin.ts";
import type { VirtualMachine } from "./virtual-machine.ts";

/** What a command may use. */
export interface MonitorContext {
  readonly machine: VirtualMachine;
  /** All commands that are known, for `help` and `query-commands`. */
  readonly commands: readonly MonitorCommand[];
  readonly conversation: MonitorConversation;
}

/** The conversation in which a command is executed. */
export interface MonitorConversation {
  /** `people` write lines and read text (QEMU: HMP), `programs` send and receive JSON (QMP). */
  readonly audience: "people" | "programs";
  /** Shows how far a command is that takes long, and at the end that there is no more to show; absent if nobody sees it. */
  progress?(amount: { readonly done: number; readonly total: number } | undefined): void;
  /**
   * Takes the open descriptor that came with the command, which is the command's then; undefined if none came. Absent if
   * none can come.
   */
  takeDescriptor?(): number | undefined;
}

/**
 * What a program may give for an argument, after QEMU's QAPI:
 *
 * - `size`: an integer from 0 to 2⁶⁴ - 1 (QAPI: uint64)
 * - `anyOf`: one of these words (QAPI: enum)
 * - `listOf`: an array
 * - `members`: an object with these and no other members (QAPI: struct)
 * - `variants`: an object whose member `tag` says which other members it has (QAPI: flat union)
 */
export type MonitorValue =
  | "string"
  | "integer"
  | "size"
  | "boolean"
  | { readonly anyOf: readonly string[] }
  | { readonly listOf: MonitorValue }
  | { readonly members: MonitorMembers }
  | { readonly tag: string; readonly variants: Readonly<Record<string, MonitorMembers>> };

/** The members of an object by name. */
export type MonitorMembers = Readonly<Record<string, { readonly value: MonitorValue; readonly optional?: true }>>;

/** An argument of a command. */
export interface MonitorArgument {
  readonly name: string;
  /** For people a string, an integer, `on` or `off`, or a flag; a flag is a boolean for programs. */
  readonly type: "string" | "integer" | "boolean" | "flag" | Exclude<MonitorValue, string>;
  /** It may be left out: by anybody, or by programs only. */
  readonly optional?: boolean | "programs";
  /** The other side does not know this argument. What programs give only may be of any type. */
  readonly onlyFor?: "people" | "programs";
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
  /** QMP's name, e.g. `query-status`; the key under `provides`. For people only: `x-` and a name. */
  readonly name: string;
  /** HMP's words, e.g. `info status`; undefined if people have no use for it. */
  readonly words?: string;
  /** Shorter words, e.g. `q` for `quit`. */
  readonly aliases?: readonly string[];
  readonly summary: string;
  readonly arguments: readonly MonitorArgument[];
  /** Programs may give arguments of other names too, e.g. the names of settings; `execute` judges them. */
  readonly openArguments?: true;
  /** Programs cannot call it: there is another command for them that does the same. */
  readonly onlyFor?: "people";
  /** @throws {CprError} with the text that the user sees. */
  execute(context: MonitorContext, values: Readonly<Record<string, unknown>>): Promise<unknown>;
  /** Lines for a person, without the final line feed; nothing is printed if absent. */
  print?(result: unknown): string;
}

export const MonitorCommand = extensionPoint<MonitorCommand>("monitor-command");
