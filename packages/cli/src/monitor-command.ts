import { LineHistory, MonitorSession, type QmpClient } from "@cpr/monitor";
import { Command } from "commander";
import { connectToVm, withVm } from "./vm-connection.ts";

/** Describes `cpr monitor`. */
export function createMonitorCommand(): Command {
  return withVm(new Command("monitor"))
    .summary("talk to the monitor of a running VM")
    .description(
      "QEMU's human monitor over the VM's QMP socket, from a terminal or a pipe. Events are shown as they happen. The end of " +
        "the input ends the conversation; the VM goes on.",
    )
    .helpOption("-h, --help", "show this help")
    .action(async (vm: string) => {
      const { stdin, stdout } = process;
      await using client = await connectToVm(vm);
      await using second = await connectToVm(vm);
      const monitor = new RemoteMonitor(client, second, await spellings(client));
      const terminal = stdin.isTTY === true && stdout.isTTY === true;
      const session = new MonitorSession(monitor, {
        input: stdin,
        output: stdout,
        terminal,
        history: LineHistory.ofUser(),
      });
      const forget = terminal ? second.on(({ event }) => session.notify(`[${event}]`)) : () => undefined;
      void client.closed.then(() => session.close());
      await session.done;
      forget();
      stdin.destroy();
    });
}

/** What a line may begin with, as the VM's own help says. */
async function spellings(client: QmpClient): Promise<readonly string[]> {
  const help = String(await client.execute("human-monitor-command", { "command-line": "help" }));
  return help
    .split("\n")
    .map((line) => /^[a-z_?][a-z_ ]*(?=[^a-z_ ]|$)/.exec(line)?.[0].trim() ?? "")
    .filter(Boolean);
}

/** The human monitor of another process. */
class RemoteMonitor {
  readonly #client: QmpClient;
  readonly #second: QmpClient;
  readonly #spellings: readonly string[];

  /** @param second - a connection on which something can be said while the first one waits for its answer. */
  constructor(client: QmpClient, second: QmpClient, spellings: readonly string[]) {
    this.#client = client;
    this.#second = second;
    this.#spellings = spellings;
  }

  async execute(line: string): Promise<{ readonly text: string; readonly failed: boolean }> {
    try {
      const answer = await this.#client.execute("human-monitor-command", { "command-line": line });
      const text = String(answer).trimEnd();
      return { text, failed: text.startsWith("Error: ") };
    } catch (error) {
      // The VM has ended, by this line (`quit`) or by itself.
      return { text: /^\s*q(uit)?\s*$/.test(line) ? "" : (error as Error).message, failed: true };
    }
  }

  interrupt(): void {
    this.#second.execute("migrate_cancel").catch(() => undefined);
  }

  complete(line: string): [string[], string] {
    const typed = line.trimStart();
    return [this.#spellings.filter((spelling) => spelling.startsWith(typed)).sort(), typed];
  }
}
