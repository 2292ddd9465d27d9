import { guestProgramNeeds, observingPrograms } from "@cpr/guest-programs";
import { describe, expect, it } from "vitest";
import { loadFromOldProcess, saveForNewProcess } from "./moves.ts";
import { backends, ProgramRun } from "./program-run.ts";

for (const backend of backends) {
  describe(`guest programs on ${backend}`, () => {
    for (const name of observingPrograms) {
      it(`observes in ${name} what a processor does`, async () => {
        const run = new ProgramRun(name);
        const process = run.start(backend);
        if (run.needs.doorbell !== undefined) {
          await run.ready();
          run.ring();
        }
        await run.expectObservations(process);
      });
    }
  });

  describe(`guest programs that wait to be moved, on ${backend}`, () => {
    for (const name of observingPrograms.filter((each) => guestProgramNeeds(each).doorbell !== undefined)) {
      it(`finds in ${name} everything as it was, in a new process`, async () => {
        const run = new ProgramRun(name);
        const first = run.start(backend);
        await first.ready();
        await run.ready();
        expect(await saveForNewProcess(first, run.machine)).toBe(true);
        await first.quit();
        const second = run.start(backend, ["-incoming", "defer"]);
        await second.ready();
        await loadFromOldProcess(second, run.machine);
        run.ring();
        await run.expectObservations(second);
      });
    }
  });
}
