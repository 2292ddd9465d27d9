import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type MigrationForecast, migrationErrors } from "@cpr/core";
import { FakeVirtualMachine } from "@cpr/testkit/fakes";
import { expect, it, onTestFinished } from "vitest";
import { cprCommand } from "../../../tools/cpr-process.ts";
import { scratchFolder } from "./scratch.ts";
import { serveAt } from "./served-machine.ts";

/** A VM that takes its time to answer. */
class SlowMachine extends FakeVirtualMachine {
  readonly planAsked = Promise.withResolvers<void>();
  readonly planAllowed = Promise.withResolvers<void>();
  readonly migrateAsked = Promise.withResolvers<void>();
  readonly #cancelled = Promise.withResolvers<void>();
  #cancels = 0;

  constructor() {
    super();
    this.settings.setCapabilities(["mapped-ram", "multifd"].map((capability) => ({ capability, state: false })));
    // As an older VM's process, which does not know what a checkpoint is made for.
    this.settings.setParameters({ "direct-io": false });
  }

  override async planMigration(uri: string): Promise<MigrationForecast> {
    this.planAsked.resolve();
    await this.planAllowed.promise;
    return super.planMigration(uri);
  }

  /** Opens a place for ever. */
  override async migrate(): Promise<void> {
    this.migrateAsked.resolve();
    await this.#cancelled.promise;
    throw migrationErrors.ERR_CPR_MIGRATION_CANCELLED({});
  }

  /** The first time, there is nothing to cancel yet. */
  override async migrateCancel(): Promise<void> {
    this.#cancels += 1;
    if (this.#cancels > 1) this.#cancelled.resolve();
  }
}

/** Begins `cpr save` of a machine, whose settings are remembered. */
async function beginSave(machine: SlowMachine, ...options: string[]) {
  const folder = scratchFolder();
  const socket = join(folder, "vm.qmp");
  await serveAt(socket, machine);
  const before = new Map(machine.settings.parameters());
  const child: ChildProcess = spawn(process.execPath, [cprCommand, "save", socket, "vm.state", ...options], {
    cwd: folder,
    stdio: ["ignore", "ignore", "pipe"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  let stderr = "";
  child.stderr?.on("data", (bytes: Buffer) => {
    stderr += bytes.toString();
  });
  const ended = once(child, "close").then(([status]) => ({ status: status as number | null, stderr }));
  return { child, ended, before };
}

const cancelled = { status: 7, stderr: expect.stringContaining("The migration was cancelled") };

it.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
  "a dry run that %s ends leaves the VM's settings as they were",
  async (signal) => {
    const machine = new SlowMachine();
    const { child, ended, before } = await beginSave(machine, "--dry-run");
    await machine.planAsked.promise;
    expect(machine.settings.parameters()).not.toEqual(before);
    child.kill(signal);
    // The answer must not be there first.
    await delay(100);
    machine.planAllowed.resolve();
    expect(await ended).toEqual(cancelled);
    expect(machine.settings.parameters()).toEqual(before);
  },
);

it("a save is given up while its place is still being opened", async () => {
  const machine = new SlowMachine();
  machine.planAllowed.resolve();
  const { child, ended, before } = await beginSave(machine);
  await machine.migrateAsked.promise;
  child.kill("SIGINT");
  expect(await ended).toEqual(cancelled);
  expect(machine.settings.parameters()).toEqual(before);
});
