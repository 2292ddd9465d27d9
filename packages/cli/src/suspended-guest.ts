import { setTimeout as delay } from "node:timers/promises";
import { migrationErrors } from "@cpr/core";
import { GuestAgent, type QmpClient } from "@cpr/monitor";
import { cliErrors } from "./cli-errors.ts";
import { statusOf } from "./vm-connection.ts";

/** How often the VM is asked whether the guest sleeps, in milliseconds. */
const interval = 100;

/** How often a line tells that it is still waited for where there is no terminal, in milliseconds. */
const lineInterval = 5000;

/** How long an agent may take to say that it is there, in milliseconds: it does nothing else for that. */
const agentPatience = 20_000;

/** How a guest is suspended. */
export interface GuestSuspension {
  /** The host's end of the channel to the guest's agent: a Unix socket. */
  readonly agent: string;
  /** How long it may take in all, in seconds. */
  readonly seconds: number;
  /** Standard error, unless the user wants to hear nothing. */
  readonly output: NodeJS.WriteStream | undefined;
  /** Given when the user gives it up. */
  readonly signal: AbortSignal;
}

/**
 * Has the guest's agent suspend the guest to RAM, and waits until it sleeps. If it fails, the guest runs on.
 *
 * @returns whether it was awake before.
 * @throws {CprError} ERR_CPR_SUSPEND_STATE, ERR_CPR_SUSPEND_TIMEOUT, ERR_CPR_AGENT_…; ERR_CPR_MIGRATION_CANCELLED if it was given up.
 */
export async function suspendGuest(client: QmpClient, suspension: GuestSuspension): Promise<boolean> {
  const status = await statusOf(client);
  if (status === "suspended") {
    return false;
  }
  if (status !== "running") {
    throw cliErrors.ERR_CPR_SUSPEND_STATE({ status });
  }
  using agent = await GuestAgent.connect(suspension.agent);
  const patience = AbortSignal.timeout(Math.min(agentPatience, 1000 * suspension.seconds));
  await agent.synchronize(AbortSignal.any([patience, suspension.signal])).catch((error: unknown) => {
    throwIfGivenUp(suspension.signal);
    throw error;
  });
  try {
    await untilSuspended(client, agent, suspension);
  } catch (error) {
    // It may have fallen asleep in spite of that.
    await wakeGuest(client);
    throw error;
  }
  return true;
}

/** Wakes a guest that was put to sleep for nothing. Why that was so says more than why it could not be woken. */
export async function wakeGuest(client: QmpClient): Promise<void> {
  if ((await statusOf(client).catch(() => undefined)) === "suspended") {
    await client.execute("system_wakeup").catch(() => undefined);
  }
}

async function untilSuspended(client: QmpClient, agent: GuestAgent, suspension: GuestSuspension): Promise<void> {
  const { seconds, output, signal } = suspension;
  const begun = performance.now();
  let told = begun;
  const refused = agent.suspendToRam();
  const progress = new WaitingLine(output);
  try {
    for (;;) {
      const status = await statusOf(client);
      if (status === "suspended") return;
      if (status !== "running") throw cliErrors.ERR_CPR_SUSPEND_STATE({ status });
      throwIfGivenUp(signal);
      const now = performance.now();
      const passed = now - begun;
      if (passed > 1000 * seconds) throw cliErrors.ERR_CPR_SUSPEND_TIMEOUT({ seconds });
      if (output?.isTTY === true || now - told > lineInterval) {
        told = now;
        progress.show(`The guest suspends itself: ${Math.floor(passed / 1000)} of at most ${seconds} s`);
      }
      const error = await Promise.race([refused, delay(interval, undefined)]);
      if (error !== undefined) throw error;
    }
  } finally {
    progress.end();
  }
}

/** A line that is written over where that is possible. */
class WaitingLine {
  readonly #output: NodeJS.WriteStream | undefined;

  constructor(output: NodeJS.WriteStream | undefined) {
    this.#output = output;
  }

  show(text: string): void {
    this.#output?.write(this.#output.isTTY ? `\r\u001b[K${text}` : `${text}\n`);
  }

  end(): void {
    if (this.#output?.isTTY === true) this.#output.write("\r\u001b[K");
  }
}

function throwIfGivenUp(signal: AbortSignal): void {
  if (signal.aborted) {
    throw migrationErrors.ERR_CPR_MIGRATION_CANCELLED({});
  }
}
