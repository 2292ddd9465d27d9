import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { buildGuestProgram } from "@cpr/guest-programs";
import { QmpClient, type QmpEvent } from "@cpr/monitor";
import { expect, onTestFinished } from "vitest";
import { cprCommand } from "../../../tools/cpr-process.ts";

/** What the tests read of `query-migrate` (QAPI MigrationInfo). */
interface MigrationInfo {
  readonly status: string;
  readonly ram?: { readonly transferred: number };
  readonly "error-desc"?: string;
  readonly "x-notices"?: readonly string[];
}

/** How a {@link QmpProcess} is started. */
interface QmpProcessOptions {
  /** Where its socket and its console are. */
  readonly folder: string;
  /** Distinguishes its files from those of other processes in the folder. */
  readonly name: string;
  readonly options?: readonly string[];
  /** Open descriptors that it inherits: as 3, 4 and so on. */
  readonly descriptors?: readonly number[];
}

/** A `cpr run` with the guest program `pages`, which is told what to do through QMP, and whose events are remembered. */
export class QmpProcess {
  /** All events so far. */
  readonly events: readonly QmpEvent[];
  /** Exit status and what was said on standard error. */
  readonly ended: Promise<{ status: number | null; stderr: string }>;
  readonly #child: ChildProcess;
  readonly #console: string;
  readonly #client: QmpClient;

  private constructor(child: ChildProcess, console: string, client: QmpClient, events: readonly QmpEvent[]) {
    this.#child = child;
    this.#console = console;
    this.#client = client;
    let stderr = "";
    child.stderr?.on("data", (bytes: Buffer) => {
      stderr += bytes.toString();
    });
    this.ended = once(child, "close").then(([status]) => ({ status: status as number | null, stderr }));
    this.events = events;
  }

  /** Starts a process; it is gone when the test ends. */
  static async start({ folder, name, options = [], descriptors = [] }: QmpProcessOptions): Promise<QmpProcess> {
    const socket = join(folder, `${name}.qmp`);
    const console = join(folder, `${name}.console`);
    const words = ["run", "-m", "32M", "-kernel", buildGuestProgram("pages"), "-serial", `file:${console}`, ...options];
    // NOTE: with `wait=on` the VM is made when our client is there, but events are sent to it once it has negotiated.
    const child = spawn(process.execPath, [cprCommand, ...words, "-qmp", `unix:${socket},server=on`], {
      stdio: ["ignore", "ignore", "pipe", ...descriptors],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    const events: QmpEvent[] = [];
    const client = await connect(child, socket, (event) => events.push(event));
    const started = new QmpProcess(child, console, client, events);
    await started.execute("migrate-set-capabilities", { capabilities: [{ capability: "events", state: true }] });
    return started;
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** Carries out a command. @throws {CprError} as the process said */
  execute(
    command: string,
    values: Readonly<Record<string, unknown>> = {},
    descriptors: readonly number[] = [],
  ): Promise<unknown> {
    return this.#client.execute(command, values, descriptors);
  }

  async setParameters(values: Readonly<Record<string, unknown>>): Promise<void> {
    await this.execute("migrate-set-parameters", values);
  }

  async setCapabilities(...names: readonly string[]): Promise<void> {
    const capabilities = names.map((capability) => ({ capability, state: true }));
    await this.execute("migrate-set-capabilities", { capabilities });
  }

  async status(): Promise<{ running: boolean; status: string }> {
    return (await this.execute("query-status")) as { running: boolean; status: string };
  }

  async migration(): Promise<MigrationInfo> {
    return (await this.execute("query-migrate")) as MigrationInfo;
  }

  /** Waits until the migration has this status. @throws if it ends with another one. */
  async untilMigration(status: string): Promise<MigrationInfo> {
    for (;;) {
      const information = await this.migration();
      if (information.status === status) return information;
      if (["completed", "failed", "cancelled"].includes(information.status)) {
        throw new Error(`the migration is ${information.status}: ${information["error-desc"]}`);
      }
      await delay(2);
    }
  }

  /** Waits for an event, unless it has happened: by its name, or `MIGRATION` and its status. */
  async until(name: string): Promise<void> {
    while (!this.eventNames().includes(name)) await delay(2);
  }

  /** Waits for a line on the console that comes from now on. */
  async untilPrinted(line: string): Promise<void> {
    const printed = () => readFileSync(this.#console, "latin1").split(/\r?\n/);
    const count = (lines: readonly string[]) => lines.filter((each) => each === line).length;
    const before = count(printed());
    while (count(printed()) === before) await delay(5);
  }

  /** What has happened so far, in order. */
  eventNames(): string[] {
    return this.events.map(({ event, data }) => (event === "MIGRATION" ? `MIGRATION ${data?.["status"]}` : event));
  }

  /** `quit`; fulfilled when the process is gone. */
  async quit(): Promise<void> {
    await this.execute("quit");
    expect((await this.ended).status).toBe(0);
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
}

async function connect(child: ChildProcess, socket: string, listener: (event: QmpEvent) => void): Promise<QmpClient> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`cpr ended with status ${child.exitCode}`);
    try {
      return await QmpClient.connect(socket, listener);
    } catch {
      await delay(10);
    }
  }
}
