import type { Worker } from "node:worker_threads";
import { exitStatus, isCprError, programVersion } from "@cpr/core";
import { Command, CommanderError } from "commander";
import { acceptSingleDash } from "./qemu-spelling.ts";
import { run } from "./run.ts";
import { createRunCommand, type RunOptions } from "./run-options.ts";

/**
 * Runs the command line.
 *
 * @param thread - begun early for the machine of `cpr run`.
 * @returns the exit status.
 */
export async function main(words: readonly string[], thread?: Worker): Promise<number> {
  let status = 0;
  const runCommand = createRunCommand().action(async (options: RunOptions) => {
    status = await run(options, thread);
  });
  const [first, ...rest] = words;
  const others = first === "run" ? [] : (await import("./other-commands.ts")).createOtherCommands();
  const program = new Command("cpr")
    .description("CheckPoint and Restart for virtual machines.")
    .version(programVersion(), "-V, --version", "show the version")
    .helpOption("-h, --help", "show this help")
    .helpCommand("help [command]", "show the help of a command")
    .addCommand(runCommand);
  for (const command of others) {
    program.addCommand(command);
  }
  tellErrors(program, "cpr");
  try {
    await program.parseAsync(first === "run" ? ["run", ...acceptSingleDash(runCommand, rest)] : [...words], {
      from: "user",
    });
  } catch (error) {
    status = await report(error);
  }
  return status;
}

/** Lets a command and those in it end with an error, not the process, and tell where help is. */
function tellErrors(command: Command, words: string): void {
  command.exitOverride().showHelpAfterError(`(${words} --help shows the options)`);
  for (const each of command.commands) {
    tellErrors(each, `${words} ${each.name()}`);
  }
}

/** Tells the user of an error, unless commander has done so, and returns the exit status. */
async function report(error: unknown): Promise<number> {
  if (error instanceof CommanderError) {
    return error.exitCode === 0 ? 0 : exitStatus.usage;
  }
  if (isCprError(error)) {
    const { describeError } = await import("@cpr/monitor");
    process.stderr.write(`cpr: ${describeError(error).replace(/^Error: /, "")}\n`);
    return exitStatus[error.category];
  }
  process.stderr.write(`cpr: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  return 1;
}
