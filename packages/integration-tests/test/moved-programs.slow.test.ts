import { setTimeout as delay } from "node:timers/promises";
import { guestProgramNeeds, type ObservingProgram } from "@cpr/guest-programs";
import { describe, expect, it } from "vitest";
import { loadFromOldProcess, randomNumbers, saveForNewProcess } from "./moves.ts";
import { type ProgramHost, programHosts, programRun } from "./program-run.ts";

/** How often a program is tried; each time it is given less time before it is moved, and at last none. */
const attempts = 6;

/**
 * Runs a program and moves it to a new process once, after that many milliseconds or at once, and checks what it observed.
 *
 * @returns whether it had not ended before.
 */
async function move(name: ObservingProgram, { options }: ProgramHost, milliseconds: number): Promise<boolean> {
  const run = programRun(name);
  const first = run.start(...options, "-S");
  await first.ready();
  const saved = await saveForNewProcess(first, run.uri, async () => {
    await first.command("cont");
    if (milliseconds > 0) await delay(milliseconds);
  });
  if (!saved) {
    await run.expectObservations(first);
    return false;
  }
  await first.quit();
  const second = run.start(...options, "-incoming", "defer");
  await second.ready();
  await loadFromOldProcess(second, run.uri);
  await run.expectObservations(second);
  return true;
}

for (const host of programHosts) {
  describe(`guest programs that are moved to a new process in the middle, on ${host.name}`, () => {
    const random = randomNumbers(3);
    for (const name of host.programs.filter((each) => guestProgramNeeds(each).doorbell === undefined)) {
      it(`observes in ${name} what a processor does`, { timeout: 120_000 }, async () => {
        let moved = false;
        for (let left = attempts - 1; left >= 0 && !moved; left -= 1) {
          moved = await move(name, host, random() * 10 * left);
        }
        expect(moved).toBe(true);
      });
    }
  });
}
