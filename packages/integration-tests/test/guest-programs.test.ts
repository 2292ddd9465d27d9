import { guestProgramNeeds, otherProcessorCounts } from "@cpr/guest-programs";
import { describe, it } from "vitest";
import { programHosts, programRun } from "./program-run.ts";

for (const { name: host, options, programs } of programHosts) {
  describe(`guest programs on ${host}`, () => {
    for (const name of programs) {
      it(`observes in ${name} what a processor does`, async () => {
        const run = programRun(name);
        const process = run.start(...options);
        if (run.needs.doorbell !== undefined) {
          await run.ready();
          run.ring();
        }
        await run.expectObservations(process);
      });
    }

    for (const processors of otherProcessorCounts) {
      it(`observes in smp-start with ${processors} vCPUs what as many processors do`, async () => {
        const run = programRun("smp-start", { processors });
        await run.expectObservations(run.start(...options));
      });
    }

    for (const name of programs.filter((each) => guestProgramNeeds(each).doorbell !== undefined)) {
      it(`finds in ${name} everything as it was, in a new process`, async () => {
        const run = programRun(name);
        const first = run.start(...options);
        await first.ready();
        await run.ready();
        await run.save(first);
        const second = run.start(...options, "-incoming", "defer");
        await run.load(second);
        run.ring();
        await run.expectObservations(second);
      });
    }
  });
}
