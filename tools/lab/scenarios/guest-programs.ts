import { createRequire } from "node:module";
import { discoverPlugins, Kernel } from "@cpr/core";
import { type ObservingProgram, observingPrograms } from "@cpr/guest-programs";
import { GuestProgramRun } from "../../guest-program-run.ts";
import { observeHere } from "../library-program-run.ts";
import { processorDeviations } from "../processor-deviations.ts";
import { type Scenario, secondsSince } from "../scenario.ts";

/** How long a program may take to begin where a processor is emulated, in seconds. */
const patience = 120;

/** Moves a program that waits for it from one backend to another one, where it must find everything as it was. */
async function carry(name: ObservingProgram, from: string, to: string): Promise<void> {
  using run = new GuestProgramRun(name);
  const first = run.start("-accel", from);
  await first.ready();
  await run.ready(patience);
  await run.save(first);
  const second = run.start("-accel", to, "-incoming", "defer");
  await run.load(second);
  run.ring();
  await run.expectObservations(second, processorDeviations[name]);
}

export const scenario: Scenario = {
  description:
    "The guest programs observe on KVM what the lab's processor does, and find their state whole on another backend",
  seconds: 1200,
  accelerators: ["kvm", "interp"],
  async run({ report, accelerators }) {
    const [accelerator = "kvm", ...others] = accelerators;
    const failures: string[] = [];
    const attempt = async (what: string, test: () => Promise<void>): Promise<void> => {
      const started = performance.now();
      try {
        await test();
        report(`${what}: as expected, in ${secondsSince(started)}`);
      } catch (error) {
        failures.push(what);
        report(`${what}: ${error instanceof Error ? error.message : String(error)}`);
      }
    };
    const application = createRequire(import.meta.url).resolve("@cpr/cli/package.json");
    await using kernel = new Kernel(discoverPlugins({ application }));
    for (const name of observingPrograms) {
      await attempt(`${name} on ${accelerator}`, () => observeHere(kernel, name, accelerator, patience));
    }
    for (const other of others) {
      for (const [from, to] of [
        [accelerator, accelerator],
        [accelerator, other],
        [other, accelerator],
      ] as const) {
        for (const name of ["state", "state-fpu"] as const) {
          await attempt(`${name} from ${from} to ${to}`, () => carry(name, from, to));
        }
      }
    }
    if (failures.length > 0) throw new Error(`${failures.length} differ: ${failures.join("; ")}`);
  },
};
