/**
 * The compliance suite of the `MigrationMode` contract.
 *
 * @example
 * ```ts
 * modeCompliance({ name: "cpr-reboot", create: () => new CprRebootMode() });
 * ```
 *
 * @packageDocumentation
 */
import assert from "node:assert/strict";
import {
  checkpointPurposes,
  type MemorySupports,
  type MigrationMode,
  type MigrationPlan,
  type Refusal,
  type RunState,
  type TransportSupports,
} from "@cpr/core";
import { CaseList, type ComplianceCase } from "./compliance-case.ts";
import { transportUri } from "./fakes/transport-uri.ts";
import { registerCases } from "./register-cases.ts";

/** A mode to be tested. */
export interface MigrationModeFixture {
  readonly name: string;
  /** Called for each case. */
  create(): MigrationMode;
}

/** The cases for one mode, as data. */
export function modeCases(fixture: MigrationModeFixture): readonly ComplianceCase[] {
  const judgements = (mode: MigrationMode, plan: MigrationPlan): readonly (readonly Refusal[])[] => [
    mode.judgeOutgoing(plan),
    mode.judgeIncoming(plan),
  ];
  return new CaseList()
    .add("has its name, and one line about itself", () => {
      const mode = fixture.create();
      assert.match(mode.name, /^[a-z][a-z0-9-]*$/);
      assert.equal(fixture.create().name, mode.name);
      assert.match(mode.summary, /\S/);
      assert.doesNotMatch(mode.summary, /\n/);
    })
    .add("accepts some plan on each side", () => {
      const mode = fixture.create();
      assert.ok(
        plans().some((plan) => mode.judgeOutgoing(plan).length === 0),
        "nothing can be sent",
      );
      assert.ok(
        plans().some((plan) => mode.judgeIncoming(plan).length === 0),
        "nothing can be received",
      );
    })
    .add("refuses with a code, a sentence and perhaps a hint", () => {
      const mode = fixture.create();
      for (const plan of plans()) {
        for (const { code, message, hint } of judgements(mode, plan).flat()) {
          assert.match(code, /^ERR_CPR_[A-Z0-9_]+$/);
          assert.match(message, /\S/);
          assert.doesNotMatch(message, /\n|undefined|\[object/);
          assert.ok(hint === undefined || hint.trim() !== "", "an empty hint");
        }
      }
    })
    .add("judges alike every time, and by the plan alone", () => {
      const mode = fixture.create();
      const first = plans().map((plan) => judgements(mode, plan));
      assert.deepEqual(
        plans()
          .reverse()
          .map((plan) => judgements(mode, plan))
          .reverse(),
        first,
      );
      assert.deepEqual(
        plans().map((plan) => judgements(fixture.create(), plan)),
        first,
      );
    })
    .add("changes nothing in the plan", () => {
      const mode = fixture.create();
      for (const plan of plans()) {
        const before = structuredClone(plan);
        judgements(mode, deepFreeze(plan));
        assert.deepEqual(plan, before);
      }
    })
    .add("gives each reason once", () => {
      const mode = fixture.create();
      for (const plan of plans()) {
        for (const refusals of judgements(mode, plan)) {
          const messages = refusals.map(({ message }) => message);
          assert.deepEqual([...new Set(messages)], messages);
        }
      }
    })
    .add("keeps RAM in place only where it can be found again", () => {
      const mode = fixture.create();
      for (const supports of memorySupports()) {
        const keeps = mode.keepsInPlace(supports);
        assert.equal(typeof keeps, "boolean");
        assert.equal(mode.keepsInPlace(supports), keeps);
        assert.ok(!keeps || supports.shared, "private RAM would stay behind with the process");
      }
    }).cases;
}

/** Registers the suite of the `MigrationMode` contract. */
export function modeCompliance(fixture: MigrationModeFixture): void {
  registerCases(`migration mode ${fixture.name}`, modeCases(fixture));
}

const truth = [false, true] as const;

function memorySupports(): MemorySupports[] {
  return truth.flatMap((shared) =>
    truth.flatMap((survivesProcessExit) =>
      truth.map((survivesReboot) => ({ shared, survivesProcessExit, survivesReboot })),
    ),
  );
}

/** All kinds of transports, run states, purposes, capabilities and memory, each with each. */
function plans(): MigrationPlan[] {
  const transports: TransportSupports[] = truth.flatMap((stores) =>
    truth.map((seekable) => ({ stores, seekable, parallel: false, passesDescriptors: false })),
  );
  const runStates: RunState[] = ["running", "paused", "suspended", "prelaunch", "inmigrate", "postmigrate", "shutdown"];
  return transports.flatMap((transport) =>
    runStates.flatMap((runState) =>
      checkpointPurposes.flatMap((purpose) =>
        [[], ["x-ignore-shared"]].flatMap((capabilities) =>
          memorySupports().map((supports) => ({
            uri: transportUri(transport.stores ? "file:/tmp/vm.state" : "unix:/tmp/socket"),
            transport,
            transports: transports.map((supports, index) => ({ scheme: `scheme${index}`, supports })),
            capabilities: new Set(capabilities),
            directIo: false,
            purpose,
            runState,
            memory: [{ id: "ram0", location: "/dev/shm/ram0", supports }],
          })),
        ),
      ),
    ),
  );
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null) {
    Object.values(value).forEach(deepFreeze);
    Object.freeze(value);
  }
  return value;
}
