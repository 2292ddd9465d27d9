import { expect } from "vitest";
import type { CprProcess } from "../../../tools/cpr-process.ts";

/** A pseudo-random sequence in [0, 1), the same each time. */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/**
 * Saves the VM of a process to a URI and leaves its RAM in place. Commands before that, e.g. `cont`, are given
 * in one go with it.
 *
 * @returns whether it was saved: the guest may have ended before, or while it was being saved, and the process with it. How the
 * process ended is checked.
 */
export async function saveForNewProcess(
  process: CprProcess,
  uri: string,
  before: () => Promise<void> = async () => undefined,
): Promise<boolean> {
  try {
    await process.chooseReboot();
    await before();
    const answer = await process.command(`migrate ${uri}`);
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
export async function loadFromOldProcess(process: CprProcess, uri: string): Promise<void> {
  await process.chooseReboot();
  expect(await process.command(`migrate_incoming ${uri}`)).toBe("");
}
