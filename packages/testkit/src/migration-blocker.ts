/**
 * The compliance suite of the `MigrationBlocker` contract.
 *
 * @example
 * ```ts
 * migrationBlockerCompliance({ name: "hold", create: () => new HoldBlocker(), block: () => hold.take() });
 * ```
 *
 * @packageDocumentation
 */
import assert from "node:assert/strict";
import type { BlockableMachine, MigrationBlock, MigrationBlocker } from "@cpr/core";
import { CaseList, type ComplianceCase } from "./compliance-case.ts";
import { registerCases } from "./register-cases.ts";

/** A blocker to be tested. */
export interface MigrationBlockerFixture {
  readonly name: string;
  /** Called for each case. */
  create(): MigrationBlocker;
  /** Brings about something that blocks {@link machine}; the result ends it again. */
  block(): Promise<() => Promise<void>>;
  /** The VM that it is asked about; one with RAM in `/dev/shm` if undefined. */
  readonly machine?: BlockableMachine;
}

const someMachine: BlockableMachine = {
  name: "vm",
  machine: "pc",
  memory: [
    {
      id: "ram0",
      location: "/dev/shm/ram0",
      supports: { shared: true, survivesProcessExit: true, survivesReboot: false },
    },
  ],
};

/** The cases for one blocker, as data. */
export function migrationBlockerCases(fixture: MigrationBlockerFixture): readonly ComplianceCase[] {
  const { machine = someMachine } = fixture;
  const ask = (blocker: MigrationBlocker): readonly MigrationBlock[] => blocker.blocks(structuredClone(machine));

  /** Runs a case while something blocks. */
  const blocked = (body: (blocker: MigrationBlocker) => void) => async () => {
    const end = await fixture.block();
    try {
      body(fixture.create());
    } finally {
      await end();
    }
  };

  return new CaseList()
    .add("has its name, and one line about itself", () => {
      const blocker = fixture.create();
      assert.match(blocker.name, /^[a-z][a-z0-9-]*$/);
      assert.equal(fixture.create().name, blocker.name);
      assert.match(blocker.summary, /^\S.*\S$/);
    })
    .add(
      "says what blocks, in which modes, each with a sentence",
      blocked((blocker) => {
        const blocks = ask(blocker);
        assert.ok(blocks.length > 0, "nothing is blocked");
        for (const { modes, reason } of blocks) {
          assert.ok(modes === "all" || modes.length > 0, "no mode is blocked");
          assert.match(reason, /\S/);
          assert.doesNotMatch(reason, /\n|undefined|\[object/);
        }
        const reasons = blocks.map(({ reason }) => reason);
        assert.deepEqual([...new Set(reasons)], reasons, "a reason is there twice");
      }),
    )
    .add("blocks only as long as there is a reason", async () => {
      const blocker = fixture.create();
      const before = ask(blocker);
      const end = await fixture.block();
      let during: readonly MigrationBlock[];
      try {
        during = ask(blocker);
      } finally {
        await end();
      }
      assert.notDeepEqual(during, before);
      assert.deepEqual(ask(blocker), before);
    })
    .add(
      "says the same every time, and changes nothing in the VM",
      blocked((blocker) => {
        const asked = structuredClone(machine);
        const first = blocker.blocks(asked);
        assert.deepEqual(blocker.blocks(asked), first);
        assert.deepEqual(fixture.create().blocks(asked), first);
        assert.deepEqual(asked, machine);
      }),
    ).cases;
}

/** Registers the suite of the `MigrationBlocker` contract. */
export function migrationBlockerCompliance(fixture: MigrationBlockerFixture): void {
  registerCases(`migration blocker ${fixture.name}`, migrationBlockerCases(fixture));
}
