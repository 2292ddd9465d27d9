/**
 * The compliance suite of the `Backend` contract. It holds a backend to the contract, with programs of a dozen
 * instructions; that it executes the instruction set right is for other tests.
 *
 * @example
 * ```ts
 * await backendCompliance({ name: "interp", create: () => new InterpreterBackend() });
 * ```
 *
 * @packageDocumentation
 */
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { type Backend, checkFields, isCprError, type ProcessorState, processorState } from "@cpr/core";
import { it } from "vitest";
import {
  guestPrograms,
  hashOf,
  interruptReport,
  interruptVector,
  mailbox,
  origin,
  questionPort,
} from "./backend/guest-programs.ts";
import { severalProcessorsCases } from "./backend/several-processors.ts";
import { SpecimenGuest, specimenRam } from "./backend/specimen-guest.ts";
import { CaseList, type ComplianceCase } from "./compliance-case.ts";
import { equalBytes, eventually } from "./expectations.ts";
import { extremeStates } from "./extreme-states.ts";
import { registerCases } from "./register-cases.ts";

/** A backend to be tested. */
export interface BackendFixture {
  readonly name: string;
  /** Called for each case. */
  create(): Backend;
  /** The address of a view's first byte, for a backend that does not ask whoever demands an alignment. */
  addressOf?(bytes: Uint8Array): bigint;
}

/** In buffers that begin where no huge page does. */
const madeUpAddressOf = (bytes: Uint8Array): bigint => 0x7654_3210_1000n + BigInt(bytes.byteOffset);

/** The cases that need no vCPU, as data: they hold also where the backend does not work. */
export function backendDescriptionCases(fixture: BackendFixture): readonly ComplianceCase[] {
  return new CaseList()
    .add("says the same about itself every time", () => {
      const [first, second] = [fixture.create(), fixture.create()];
      assert.deepEqual(second.supports, first.supports);
      assert.equal(second.name, first.name);
      assert.match(first.name, /^[a-z][a-z0-9-]*$/);
      assert.ok(Number.isFinite(first.preference));
      const { kernelIrqchip, dirtyLog, maximumProcessors, maximumRam } = first.supports;
      assert.ok(["off", "split"].includes(kernelIrqchip), "kernelIrqchip");
      assert.equal(typeof dirtyLog, "boolean");
      assert.ok(Number.isInteger(maximumProcessors) && maximumProcessors >= 1, "maximumProcessors");
      assert.ok(Number.isSafeInteger(maximumRam) && maximumRam >= specimenRam, "maximumRam");
    })
    .add("has CPU models with different names", () => {
      const names = fixture.create().processorModels;
      assert.ok(names.length > 0, "there is no CPU model");
      assert.deepEqual([...new Set(names)], names);
      assert.ok(names.every((name) => name !== ""));
    })
    .add("tells whether it works here, and if not, why", async () => {
      const availability = await fixture.create().probe();
      assert.match(availability.available ? availability.note : availability.reason, /\S/);
    }).cases;
}

/** The cases that execute guest code, as data. */
export function backendCases(fixture: BackendFixture): readonly ComplianceCase[] {
  const { supports } = fixture.create();
  const list = new CaseList();

  /** Runs a case with a guest that has a program loaded and is stopped. */
  const withGuest =
    (program: readonly number[], body: (guest: SpecimenGuest, backend: Backend) => Promise<void>) => async () => {
      const backend = fixture.create();
      const guest = await SpecimenGuest.create(backend);
      try {
        await body(guest.load(program), backend);
      } finally {
        await guest.close();
      }
    };
  const counter = ({ allocation: { bytes } }: SpecimenGuest) =>
    new DataView(bytes.buffer, bytes.byteOffset).getUint32(mailbox, true);

  list
    .add("gives RAM of the size that was asked for, all zero", () => {
      const { bytes } = fixture.create().allocateRam(3 * 65_536 + 4096);
      assert.equal(bytes.length, 3 * 65_536 + 4096);
      assert.ok(
        bytes.every((byte) => byte === 0),
        "new RAM is not zero",
      );
    })
    .add("adopts the same RAM on the machine thread", () => {
      const allocated = fixture.create().allocateRam(specimenRam);
      const adopted = fixture.create().adoptRam(structuredClone(allocated.handle));
      assert.equal(adopted.bytes.length, specimenRam);
      allocated.bytes[specimenRam - 1] = 0x5a;
      assert.equal(adopted.bytes[specimenRam - 1], 0x5a);
      adopted.bytes[0] = 0xa5;
      assert.equal(allocated.bytes[0], 0xa5);
    })
    .add("begins RAM at an address that suits huge pages, if it is told to", () => {
      const { addressOf = madeUpAddressOf } = fixture;
      const multiple = 2 ** 21;
      const { bytes } = fixture.create().allocateRam(specimenRam, { multiple, addressOf });
      assert.equal(bytes.length, specimenRam);
      assert.equal(addressOf(bytes) % BigInt(multiple), 0n);
    })
    .add("refuses more RAM than it supports", () => {
      const backend = fixture.create();
      assert.throws(() => backend.allocateRam(backend.supports.maximumRam + 65_536), isCprError);
    })
    .add("makes vCPUs stopped, in the power-on state", async () => {
      const guest = await SpecimenGuest.create(fixture.create());
      const state = guest.execution.saveProcessor(0);
      await delay(10);
      assert.deepEqual(guest.execution.saveProcessor(0), state);
      assert.equal(checkFields(processorState.fields, state), undefined);
      // Intel SDM Vol. 3A table 10-1.
      assert.equal(state.rip, 0xfff0n);
      assert.equal(state.rflags, 2n);
      assert.equal(state.segments[1]?.base, 0xffff_0000n);
      assert.equal(state.segments[1]?.selector, 0xf000);
      assert.equal(state.cr0, 0x6000_0010n);
      assert.equal(state.efer, 0n);
      await guest.close();
    })
    .add(
      "makes the guest's port writes in order, each once",
      withGuest(guestPrograms.countsToTen, async (guest) => {
        assert.deepEqual(await guest.runUntilReports(10), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        await delay(10);
        assert.equal(guest.reports.length, 10);
      }),
    )
    .add(
      "gives the guest what port reads answer, in the width of each access",
      withGuest(guestPrograms.echoes, async (guest) => {
        const answers = { 1: 0x12, 2: 0x3456, 4: 0x89ab_cdef } as const;
        guest.bus.ports.claim("test", questionPort, 4, {
          read: (_offset, size) => answers[size],
          write: () => undefined,
        });
        assert.deepEqual(await guest.runUntilReports(3), [0x12, 0x3456, 0x89ab_cdef]);
        assert.deepEqual(
          guest.bus.accesses.map(({ kind, size }) => `${kind} ${size}`),
          ["read 1", "write 1", "read 2", "write 2", "read 4", "write 4"],
        );
      }),
    )
    .add(
      "lets guest and host share RAM in place",
      withGuest(guestPrograms.usesMailbox, async (guest) => {
        guest.allocation.bytes[mailbox + 2] = 0x42;
        assert.deepEqual(await guest.runUntilReports(1), [0x42]);
        assert.deepEqual([...guest.allocation.bytes.slice(mailbox, mailbox + 3)], [0x34, 0x12, 0x42]);
      }),
    )
    .add(
      "takes accesses beyond RAM to the bus",
      withGuest(guestPrograms.reachesBeyondRam, async (guest) => {
        guest.bus.mmio.claim("test", specimenRam, 8, { read: () => 0x31, write: () => undefined });
        assert.deepEqual(await guest.runUntilReports(1), [0x31]);
        assert.deepEqual(
          guest.bus.accesses.filter(({ space }) => space === "mmio"),
          [
            { space: "mmio", kind: "write", address: specimenRam, size: 1, value: 0x77 },
            { space: "mmio", kind: "read", address: specimenRam + 4, size: 1, value: 0x31 },
          ],
        );
      }),
    )
    .add(
      "stops a guest that never ends, and no store happens after that",
      withGuest(guestPrograms.countsForEver, async (guest) => {
        guest.start();
        await eventually(() => counter(guest) > 0, "the guest's first store");
        await guest.pause();
        const stopped = counter(guest);
        await delay(20);
        assert.equal(counter(guest), stopped, "the guest runs although it is paused");
        guest.start();
        await eventually(() => counter(guest) !== stopped, "the guest's going on");
      }),
    )
    .add(
      "can be paused twice, at once after a start, and before the first one",
      withGuest(guestPrograms.spins, async (guest) => {
        await guest.pause();
        guest.start();
        const pauses = [guest.pause(), guest.pause()];
        await Promise.all(pauses);
        await guest.pause();
        const { rip } = guest.execution.saveProcessor(0);
        assert.ok(rip >= BigInt(origin) && rip <= BigInt(origin + 1), `the guest is at 0x${rip.toString(16)}`);
      }),
    )
    .add(
      "changes nothing when it saves",
      withGuest(guestPrograms.countsForEver, async (guest) => {
        guest.start();
        await eventually(() => counter(guest) > 0, "the guest's first store");
        await guest.pause();
        const before = { memory: guest.allocation.bytes.slice(), accesses: guest.bus.accesses.length };
        const first = structuredClone(guest.execution.saveProcessor(0));
        assert.deepEqual(guest.execution.saveProcessor(0), first);
        assert.equal(checkFields(processorState.fields, first), undefined);
        assert.equal(guest.bus.accesses.length, before.accesses);
        equalBytes(guest.allocation.bytes, before.memory, "RAM");
      }),
    )
    .add(
      "hands out a state that the guest's going on does not reach",
      withGuest(guestPrograms.countsForEver, async (guest) => {
        const state = guest.execution.saveProcessor(0);
        const copy = structuredClone(state);
        guest.start();
        await eventually(() => counter(guest) > 0, "the guest's first store");
        await guest.pause();
        assert.deepEqual(state, copy);
      }),
    )
    .add(
      "restores exactly what it saved, in another execution",
      withGuest(guestPrograms.hashes(10_000_000), async (guest) => {
        guest.start();
        await delay(5);
        await guest.pause();
        const copy = await guest.moved(fixture.create());
        assert.deepEqual(copy.execution.saveProcessor(0), guest.execution.saveProcessor(0));
        await copy.close();
      }),
    )
    .add("brings a guest to the same end however often it is moved", async () => {
      const rounds = 300_000;
      let guest = (await SpecimenGuest.create(fixture.create())).load(guestPrograms.hashes(rounds));
      for (let move = 0; move < 20 && guest.reports.length === 0; move++) {
        guest.start();
        await delay(1);
        await guest.pause();
        if (guest.reports.length === 0) {
          const next = await guest.moved(fixture.create());
          await guest.close();
          guest = next;
        }
      }
      assert.deepEqual(await guest.runUntilReports(1), [hashOf(rounds)]);
      await guest.close();
    })
    .add(
      "refuses impossible states and stays as it was",
      withGuest(guestPrograms.spins, async (guest) => {
        const good = guest.execution.saveProcessor(0);
        for (const [what, hostile] of Object.entries(impossibleStates(good))) {
          assert.throws(() => guest.execution.restoreProcessor(0, hostile), isCprError, `it took ${what}`);
          assert.deepEqual(guest.execution.saveProcessor(0), good, `${what} changed the vCPU`);
        }
      }),
    )
    .add(
      "takes or refuses each extreme value of each field, and is untouched if it refuses",
      withGuest(guestPrograms.spins, async (guest) => {
        const good = guest.execution.saveProcessor(0);
        for (const [what, hostile] of extremeStates(processorState.fields, good)) {
          try {
            guest.execution.restoreProcessor(0, structuredClone(hostile) as ProcessorState);
          } catch (error) {
            assert.ok(isCprError(error), `${what}: restoreProcessor threw ${String(error)}, not a CprError`);
            assert.deepEqual(guest.execution.saveProcessor(0), good, `${what}: refused, but it changed the vCPU`);
            continue;
          }
          const problem = checkFields(processorState.fields, guest.execution.saveProcessor(0));
          assert.equal(problem, undefined, `${what}: the state saved after the restore ${problem}`);
          guest.execution.restoreProcessor(0, structuredClone(good));
          assert.deepEqual(guest.execution.saveProcessor(0), good, `after ${what}, the good state is not restored`);
        }
      }),
    )
    .add(
      "resets a vCPU to the state that it was made in",
      withGuest(guestPrograms.countsToTen, async (guest) => {
        const other = await SpecimenGuest.create(fixture.create());
        await guest.runUntilReports(10);
        guest.execution.resetProcessor(0);
        // Both go on with time.
        const timeless = ({ execution }: SpecimenGuest) => ({ ...execution.saveProcessor(0), tsc: 0n, systemTime: 0n });
        assert.deepEqual(timeless(guest), timeless(other));
        await other.close();
        guest.load(guestPrograms.countsToTen);
        assert.equal((await guest.runUntilReports(20)).length, 20);
      }),
    )
    .add(
      "tells of a triple fault, and can be paused then",
      withGuest(guestPrograms.triplyFaults, async (guest) => {
        guest.start();
        await eventually(() => guest.events.length > 0, "an event");
        await guest.pause();
        const [event] = guest.events;
        assert.equal(event?.kind, "triple-fault");
        assert.equal(event?.processor, 0);
        assert.match(event?.report ?? "", /\S/);
        assert.equal(guest.events.length, 1);
      }),
    )
    .add(
      "runs timers that are due while the guest spins",
      withGuest(guestPrograms.spins, (guest) => firesTimers(guest)),
    )
    .add(
      "runs timers that are due while the guest is halted",
      withGuest(guestPrograms.countsToTen, async (guest) => {
        await guest.runUntilReports(10);
        await firesTimers(guest);
      }),
    )
    .addIf(
      supports.kernelIrqchip === "off",
      "wakes a halted guest for an interrupt, which the guest handles before it goes on",
      withGuest(guestPrograms.waitsForInterrupts, async (guest) => {
        guest.start();
        for (let round = 1; round <= 3; round++) {
          await eventually(() => guest.reports.length === 3 * round - 2, `halt number ${round}`);
          guest.interrupts.raise(interruptVector);
        }
        await eventually(() => guest.reports.length === 10, "the fourth halt");
        await guest.pause();
        const round = [1, interruptReport, 2];
        assert.deepEqual(guest.reports, [...round, ...round, ...round, 1]);
        assert.deepEqual(guest.interrupts.acknowledged, [interruptVector, interruptVector, interruptVector]);
      }),
    )
    .addIf(
      supports.kernelIrqchip === "off",
      "keeps a halted guest halted over a pause and a move",
      withGuest(guestPrograms.waitsForInterrupts, async (guest) => {
        assert.deepEqual(await guest.runUntilReports(1), [1]);
        guest.start();
        await delay(10);
        await guest.pause();
        assert.equal(guest.execution.saveProcessor(0).activity, 3);
        const copy = await guest.moved(fixture.create());
        copy.start();
        await delay(20);
        assert.deepEqual(copy.reports, []);
        copy.interrupts.raise(interruptVector);
        await eventually(() => copy.reports.length === 3, "the end of the halt");
        assert.deepEqual(copy.reports, [interruptReport, 2, 1]);
        await copy.close();
      }),
    )
    .addIf(
      supports.kernelIrqchip === "off",
      "takes no interrupt while the guest has them disabled",
      withGuest(guestPrograms.countsForEver, async (guest) => {
        guest.start();
        guest.interrupts.raise(interruptVector);
        await eventually(() => counter(guest) > 1000, "the guest's going on");
        await guest.pause();
        assert.deepEqual(guest.interrupts.acknowledged, []);
        assert.equal(guest.interrupts.pending(), true);
      }),
    );
  return supports.maximumProcessors > 1 ? [...list.cases, ...severalProcessorsCases(fixture)] : list.cases;
}

/** Registers the suite of the `Backend` contract. Where the backend does not work, the skipped test says why. */
export async function backendCompliance(fixture: BackendFixture): Promise<void> {
  registerCases(`backend ${fixture.name}`, backendDescriptionCases(fixture));
  const availability = await fixture.create().probe();
  if (availability.available) {
    registerCases(`backend ${fixture.name} with a guest`, backendCases(fixture));
  } else {
    it(`backend ${fixture.name} with a guest`, ({ skip }) => skip(availability.reason));
  }
}

async function firesTimers(guest: SpecimenGuest): Promise<void> {
  const fired: number[] = [];
  const timer = guest.timers.create("test", (deadline) => {
    fired.push(deadline);
    if (fired.length < 3) {
      timer.arm(deadline + 2_000_000);
    }
  });
  const first = guest.clock.now() + 2_000_000;
  timer.arm(first);
  guest.start();
  await eventually(() => fired.length === 3, "the third tick");
  await guest.pause();
  assert.deepEqual(fired, [first, first + 2_000_000, first + 4_000_000]);
}

/** States that no vCPU can be in (Intel SDM Vol. 3A §2.5, §2.6, §11.8.6, Vol. 1 §13.3; KVM's mp_state). */
function impossibleStates(good: ProcessorState): Readonly<Record<string, ProcessorState>> {
  return {
    "paging without protection": { ...good, cr0: good.cr0 | 0x8000_0000n },
    "reserved bits of EFER": { ...good, efer: 1n << 63n },
    "XCR0 without x87": { ...good, xcr0: 6n },
    "a CR8 above 15": { ...good, cr8: 16n },
    "an unknown activity": { ...good, activity: 200 },
  };
}
