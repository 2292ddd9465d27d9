import { expect } from "vitest";
import type { CprProcess } from "../../../tools/cpr-process.ts";
import type { ScratchMachine } from "./scratch.ts";

/** A pseudo-random sequence in [0, 1), the same each time. */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Prepares a process for moving a VM whose RAM stays in place. */
async function setMode(process: CprProcess): Promise<void> {
  await process.command("migrate_set_parameter mode cpr-reboot");
  await process.command("migrate_set_capability x-ignore-shared on");
}

/**
 * Saves the VM of a process to the machine's state file and leaves its RAM in place. Commands before that, e.g. `cont`, are given
 * in one go with it.
 *
 * @returns whether it was saved: the guest may have ended before, or while it was being saved, and the process with it. How the
 * process ended is checked.
 */
export async function saveForNewProcess(
  process: CprProcess,
  machine: ScratchMachine,
  before: () => Promise<void> = async () => undefined,
): Promise<boolean> {
  try {
    await setMode(process);
    await before();
    const answer = await process.command(`migrate file:${machine.state}`);
    if (answer.startsWith("Migration cancelled") || answer === "Error: The VM has ended") {
      // The guest ended while it was being saved, or just before.
      expect((await process.ended).status).toBe(0);
      return false;
    }
    expect(answer).toBe("");
    return true;
  } catch (error) {
    if (error instanceof Error && error.message.startsWith("cpr ended (status 0)")) return false;
    throw error;
  }
}

/** Carries a VM on in a process that was started with `-incoming defer`. */
export async function loadFromOldProcess(process: CprProcess, machine: ScratchMachine): Promise<void> {
  await setMode(process);
  expect(await process.command(`migrate_incoming file:${machine.state}`)).toBe("");
}
