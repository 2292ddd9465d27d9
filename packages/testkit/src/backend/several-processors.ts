import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import type { Backend } from "@cpr/core";
import { CaseList, type ComplianceCase } from "../compliance-case.ts";
import { eventually } from "../expectations.ts";
import { guestPrograms, hashOf, mailbox, questionPort } from "./guest-programs.ts";
import { SpecimenGuest } from "./specimen-guest.ts";

/**
 * The cases for a backend that runs more than one vCPU. The second one is started by its state, so that they hold whoever's
 * the local APICs are.
 */
export function severalProcessorsCases(fixture: { create(): Backend }): readonly ComplianceCase[] {
  /** Runs a case with two vCPUs that are stopped. */
  const withTwo = (body: (guest: SpecimenGuest) => Promise<void>) => async () => {
    const guest = await SpecimenGuest.create(fixture.create(), { processorCount: 2 });
    try {
      await body(guest);
    } finally {
      await guest.close();
    }
  };
  const counters = ({ allocation: { bytes } }: SpecimenGuest) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    return [view.getUint32(mailbox, true), view.getUint32(mailbox + 4, true)] as const;
  };

  return new CaseList()
    .add(
      "lets vCPUs beyond the first wait for a start-up IPI",
      withTwo(async (guest) => {
        const { activity, rip } = guest.execution.saveProcessor(1);
        assert.ok(activity === 1 || activity === 2, `the second vCPU's activity is ${activity}`);
        guest.load(guestPrograms.countsToTen);
        await guest.runUntilReports(10);
        const after = guest.execution.saveProcessor(1);
        assert.deepEqual([after.activity, after.rip], [activity, rip]);
        assert.equal(guest.reports.length, 10);
      }),
    )
    .add(
      "lets vCPUs see each other's stores to RAM",
      withTwo(async (guest) => {
        guest.load(guestPrograms.handsOver(100)).loadSecond(guestPrograms.handsBack);
        assert.deepEqual(await guest.runUntilReports(1), [0x55]);
      }),
    )
    .add(
      "stops all vCPUs, and lets all of them go on",
      withTwo(async (guest) => {
        guest.load(guestPrograms.countsForEver).loadSecond(guestPrograms.countsBeside);
        let before: readonly number[] = [0, 0];
        for (let round = 0; round < 3; round++) {
          guest.start();
          const advanced = () => counters(guest).every((value, index) => value !== before[index]);
          await eventually(advanced, "both vCPUs' next stores");
          await guest.pause();
          before = counters(guest);
          await delay(10);
          assert.deepEqual(counters(guest), before, "a vCPU runs although it is paused");
        }
      }),
    )
    .add(
      "tells which vCPU accesses the bus",
      withTwo(async (guest) => {
        const asking: (number | undefined)[] = [];
        guest.bus.ports.claim("test", questionPort, 4, {
          read: () => {
            asking.push(guest.execution.currentProcessor?.());
            return 0;
          },
          write: () => undefined,
        });
        guest.load(guestPrograms.echoes).loadSecond(guestPrograms.echoes);
        await guest.runUntilReports(6);
        assert.deepEqual(asking.sort(), [0, 0, 0, 1, 1, 1]);
      }),
    )
    .add("brings two vCPUs to the same ends however often they are moved", async () => {
      const rounds = [300_000, 200_000] as const;
      let guest = await SpecimenGuest.create(fixture.create(), { processorCount: 2 });
      guest.load(guestPrograms.hashes(rounds[0])).loadSecond(guestPrograms.hashes(rounds[1]));
      const reports: number[] = [];
      for (let move = 0; move < 20 && reports.length === 0; move++) {
        guest.start();
        await delay(1);
        await guest.pause();
        reports.push(...guest.reports);
        const next = await guest.moved(fixture.create());
        await guest.close();
        guest = next;
      }
      reports.push(...(await guest.runUntilReports(2 - reports.length)));
      assert.deepEqual(reports.sort(), rounds.map(hashOf).sort());
      await guest.close();
    })
    .add(
      "resets each vCPU to the state that it was made in",
      withTwo(async (guest) => {
        const states = () =>
          [0, 1].map((processor) => {
            const { tsc: _, systemTime: __, ...state } = guest.execution.saveProcessor(processor);
            return state;
          });
        const made = states();
        guest.load(guestPrograms.countsForEver).loadSecond(guestPrograms.countsBeside);
        guest.start();
        await eventually(() => counters(guest).every((value) => value > 0), "both vCPUs' first stores");
        await guest.pause();
        const second = states()[1];
        guest.execution.resetProcessor(0);
        assert.deepEqual(states(), [made[0], second]);
        guest.execution.resetProcessor(1);
        assert.deepEqual(states(), made);
      }),
    )
    .add(
      "tells which vCPU has had a triple fault",
      withTwo(async (guest) => {
        guest.load(guestPrograms.spins).loadSecond(guestPrograms.triplyFaults);
        guest.start();
        await eventually(() => guest.events.length > 0, "an event");
        await guest.pause();
        assert.deepEqual(
          guest.events.map(({ kind, processor }) => ({ kind, processor })),
          [{ kind: "triple-fault", processor: 1 }],
        );
      }),
    ).cases;
}
