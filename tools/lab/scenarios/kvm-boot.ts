import { CountingGuest } from "../counting-guest.ts";
import { type Scenario, secondsSince } from "../scenario.ts";

export const scenario: Scenario = {
  description:
    "Debian's kernel boots on cpr, sleeps and wakes, is saved with its RAM in place, and goes on in a new process",
  seconds: 1200,
  accelerators: ["kvm"],
  processors: [1, 4],
  async run({ report, accelerators, processors }) {
    for (const accelerator of accelerators) {
      for (const count of processors) {
        const name = `cpr -accel ${accelerator} -smp ${count}`;
        const started = performance.now();
        using guest = await CountingGuest.boot({ accelerator, processors: count, suspends: true });
        report(`${name}: userspace after ${secondsSince(started)}`);
        await guest.wake();
        report(`${name}: suspended to RAM and awake again`);
        const stopped = performance.now();
        await guest.carryOn();
        report(
          `${name}: went on in a new process; that took ${secondsSince(stopped)}, three ticks of the guest included`,
        );
        await guest.quit();
      }
    }
  },
};
