import { CountingGuest } from "../counting-guest.ts";
import { type Scenario, secondsSince } from "../scenario.ts";

export const scenario: Scenario = {
  description: "A checkpoint made on one backend goes on on another one, and back",
  seconds: 1200,
  accelerators: ["kvm", "interp"],
  processors: [1],
  async run({ report, accelerators, processors }) {
    const [first, ...others] = accelerators;
    if (first === undefined || others.length === 0) throw new RangeError("This takes two backends or more.");
    for (const count of processors) {
      using guest = await CountingGuest.boot({ accelerator: first, processors: count });
      report(`-smp ${count}: booted on ${first}`);
      for (const accelerator of [...others, first]) {
        const started = performance.now();
        await guest.carryOn(accelerator);
        report(`-smp ${count}: goes on on ${accelerator}; that took ${secondsSince(started)}`);
      }
      await guest.quit();
    }
  },
};
