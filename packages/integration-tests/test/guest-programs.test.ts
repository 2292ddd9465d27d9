import { readFileSync } from "node:fs";
import { buildGuestProgram, expectedObservations, guestPrograms } from "@cpr/guest-programs";
import { describe, expect, it, onTestFinished } from "vitest";
import { CprProcess } from "../../../tools/cpr-process.ts";
import { scratchMachine } from "./scratch.ts";

const backends = ["interp"];

for (const backend of backends) {
  describe(`guest programs on ${backend}`, () => {
    for (const name of guestPrograms) {
      if (name === "counter" || name === "loops") continue;
      it(`observes in ${name} what a processor does`, async () => {
        const machine = scratchMachine(buildGuestProgram(name));
        const process = new CprProcess(machine.options(["-accel", backend, "-no-reboot"]));
        onTestFinished(() => process.kill("SIGKILL"));
        const { status, stderr } = await process.ended;
        expect(stderr).toBe("");
        expect(readFileSync(machine.console, "latin1").replaceAll("\r", "")).toBe(expectedObservations(name));
        expect(status).toBe(0);
      });
    }
  });
}
