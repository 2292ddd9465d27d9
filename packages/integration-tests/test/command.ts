import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cprCommand } from "../../../tools/cpr-process.ts";

/** How a command ended. */
export interface CommandEnd {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command that was begun. */
export interface BegunCommand {
  readonly child: ChildProcess;
  readonly ended: Promise<CommandEnd>;
}

/** Begins a command of `cpr` in a folder, with further variables in its environment. */
export function beginCommand(
  folder: string,
  words: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): BegunCommand {
  const child = spawn(process.execPath, [cprCommand, ...words], {
    cwd: folder,
    env: { ...process.env, ...environment },
    stdio: ["pipe", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (bytes: Buffer) => {
    stdout += bytes.toString();
  });
  child.stderr?.on("data", (bytes: Buffer) => {
    stderr += bytes.toString();
  });
  return {
    child,
    ended: once(child, "close").then(([status]) => ({ status: status as number | null, stdout, stderr })),
  };
}
