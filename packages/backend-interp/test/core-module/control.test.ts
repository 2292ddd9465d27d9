import { beforeEach, describe, expect, it } from "vitest";
import { budgetAt, budgetWithheldAt, jumpKeyAt, ripSlot, xmmAt } from "../../src/layout.ts";
import { field, helperResult, operationFlag, operationKind, operationSize, runResult } from "../../src/operations.ts";
import { vectorOperations } from "../../src/vector-operations.ts";
import { CoreHarness, register, TestFault, type TestOperation, temporary } from "./core-harness.ts";

const linkable = operationFlag.linkable | operationFlag.linkableNotTaken;
const firstOperation = 16;
let core: CoreHarness;

/** Unlinked jumps have zeros in their link fields. */
const jump = (name: TestOperation["name"], displacement: number, rest: Partial<TestOperation> = {}): TestOperation => ({
  name,
  displacement,
  base: 0,
  index: 0,
  flags: linkable,
  ...rest,
});
const leave: TestOperation = { name: "helper", offset: 0 };

beforeEach(() => {
  core = new CoreHarness();
});

/** Counts down from RCX in one block at `rip`, then leaves. */
function countdown(rip: bigint): void {
  core.block(rip, [
    { name: "add64", destination: register(0), source: 3n, offset: 0 },
    { name: "decrement64", destination: register(1), offset: 4 },
    jump("jump-if-5", 0, { immediate: 0x40n, offset: 7 }),
  ]);
  core.block(rip + 0x40n, [leave]);
}

describe("jumps", () => {
  it("are linked: a loop looks its block up once", () => {
    countdown(0x1000n);
    core.set(register(1), 100n);
    expect(core.run(0x1000n)).toBe(runResult.left);
    expect(core.get(register(0))).toBe(300n);
    const block = core.blocks.get(0x1000n) as number;
    const jumpAt = block + firstOperation + 2 * operationSize;
    expect(core.resolved).toEqual([
      { rip: 0x1000n, linkAt: 0 },
      { rip: 0x1040n, linkAt: jumpAt + field.index },
    ]);
    expect(core.view.getUint32(jumpAt + field.base, true)).toBe(block);
  });

  it("are linked by way of the jump cache only if they may be and the block is whole", () => {
    for (const [flags, length, links] of [
      [linkable, 16, true],
      [0, 16, false],
      [linkable, 0x1001, false],
    ] as const) {
      core = new CoreHarness();
      const target = core.block(0x1100n, [leave], length);
      core.run(0x1100n);
      const from = core.block(0x1000n, [jump("jump", 0x100, { flags })]);
      core.run(0x1000n);
      expect(core.resolved.map(({ rip }) => rip)).toEqual([0x1100n, 0x1000n]);
      expect(core.view.getUint32(from + firstOperation + field.base, true)).toBe(links ? target : 0);
    }
  });

  it("do not ask for a link where none may be", () => {
    core.caching = false;
    core.block(0x1000n, [jump("end", 0x1000, { flags: 0 })]);
    core.block(0x2000n, [leave]);
    core.run(0x1000n);
    expect(core.resolved[1]).toEqual({ rip: 0x2000n, linkAt: 0 });
  });

  it("look up again when the key has changed", () => {
    countdown(0x1000n);
    core.set(register(1), 1n);
    core.run(0x1000n);
    core.set(register(1), 1n);
    core.run(0x1000n);
    expect(core.resolved).toHaveLength(2);
    core.view.setUint32(jumpKeyAt, 2, true);
    core.set(register(1), 1n);
    core.run(0x1000n);
    expect(core.resolved).toHaveLength(3);
  });

  it("go where registers say, pushing return addresses", () => {
    core.mapPage(0x8000n, 0x3000n, { write: true });
    core.set(register(4), 0x8100n);
    core.set(register(3), 0x5000n);
    core.block(0x1000n, [{ name: "call-indirect64", source: register(3), immediate: 2n }]);
    core.block(0x5000n, [jump("call64", 0x100, { immediate: 5n })]);
    core.block(0x5100n, [{ name: "return64", immediate: 0n }]);
    core.block(0x5005n, [
      { name: "move64", destination: register(5), source: register(4) },
      { name: "return64", immediate: 16n },
    ]);
    core.block(0x1002n, [
      { name: "move64", destination: temporary(0), source: 0x6000n },
      { name: "jump-indirect64", source: temporary(0) },
    ]);
    core.block(0x6000n, [leave]);
    core.run(0x1000n);
    expect(core.resolved.map(({ rip }) => rip)).toEqual([0x1000n, 0x5000n, 0x5100n, 0x5005n, 0x1002n, 0x6000n]);
    expect(core.get(register(5))).toBe(0x80f8n);
    expect(core.get(register(4))).toBe(0x8110n);
    expect(core.ramView.getBigUint64(0x30f8, true)).toBe(0x1002n);
    expect(core.ramView.getBigUint64(0x30f0, true)).toBe(0x5005n);
  });

  it("take the target of CALL RSP before the push", () => {
    core.mapPage(0x8000n, 0x3000n, { write: true });
    core.set(register(4), 0x8100n);
    core.block(0x1000n, [{ name: "call-indirect64", source: register(4), immediate: 2n }]);
    core.block(0x8100n, [leave]);
    core.run(0x1000n);
    expect(core.get(register(4))).toBe(0x80f8n);
  });

  it.each([
    // Condition, RCX, ZF, whether it jumps, RCX after.
    [0, 2n, 0x00, true, 1n],
    [0, 2n, 0x40, false, 1n],
    [0, 1n, 0x00, false, 0n],
    [1, 2n, 0x40, true, 1n],
    [1, 2n, 0x00, false, 1n],
    [2, 2n, 0x40, true, 1n],
    [2, 0n, 0x00, true, 0xffff_ffff_ffff_ffffn],
    [2, 1n, 0x00, false, 0n],
    [3, 0n, 0x00, true, 0n],
    [3, 1n, 0x40, false, 1n],
  ])("count with RCX: condition %i, RCX %i, ZF %i", (condition, before, zero, jumps, after) => {
    core.set(register(1), before);
    core.flags = 2 | zero;
    core.block(0x1000n, [jump("loop64", 0x100, { auxiliary: condition, immediate: 2n })]);
    core.block(0x1100n, [leave]);
    core.block(0x1002n, [leave]);
    core.run(0x1000n);
    expect(core.resolved[1]?.rip).toBe(jumps ? 0x1100n : 0x1002n);
    expect(core.get(register(1))).toBe(after);
    expect(core.flags).toBe(2 | zero);
  });
});

describe("the stack", () => {
  it("is pushed to and popped from", () => {
    core.mapPage(0x8000n, 0x3000n, { write: true });
    core.set(register(4), 0x8100n);
    core.execute({ name: "push64", source: register(4) }, { name: "pop64", destination: register(0) });
    expect([core.get(register(0)), core.get(register(4))]).toEqual([0x8100n, 0x8100n]);
    core.execute({ name: "push64", source: 0x1234n }, { name: "pop64", destination: register(4) });
    expect(core.get(register(4))).toBe(0x1234n);
  });
});

describe("a stack of 32 bits", () => {
  it("is pushed to and popped from, within 4 GiB", () => {
    core.mapPage(0x8000n, 0x3000n, { write: true });
    core.mapPage(0xffff_f000n, 0x4000n, { write: true });
    core.set(register(4), 0xabcd_0000_8100n);
    core.set(register(0), 0x1111_2222_3333_4444n);
    core.execute({ name: "push32", source: register(0) }, { name: "push32", source: 0x55n });
    expect(core.get(register(4))).toBe(0x80f8n);
    expect(core.ramView.getBigUint64(0x30f8, true)).toBe(0x3333_4444_0000_0055n);
    core.execute({ name: "pop32", destination: register(1) }, { name: "pop32", destination: register(4) });
    expect([core.get(register(1)), core.get(register(4))]).toEqual([0x55n, 0x3333_4444n]);
    core.set(register(4), 0n);
    core.execute({ name: "push32", source: 7n });
    expect(core.get(register(4))).toBe(0xffff_fffcn);
    expect(core.ramView.getUint32(0x4ffc, true)).toBe(7);
    core.execute({ name: "pop32", destination: register(1) });
    expect(core.get(register(4))).toBe(0n);
    expect(core.slow).toEqual([]);
  });

  it("is what 32-bit calls and returns go by", () => {
    core.mapPage(0x8000n, 0x3000n, { write: true });
    core.set(register(4), 0x8100n);
    core.set(register(3), 0xdead_0000_5000n);
    core.block(0x1000n, [{ name: "call-indirect32", source: register(3), immediate: 2n }]);
    core.block(0x5000n, [jump("call32", 0x100, { immediate: 5n })]);
    core.block(0x5100n, [{ name: "return32", immediate: 0n }]);
    core.block(0x5005n, [{ name: "return32", immediate: 8n }]);
    core.block(0x1002n, [
      { name: "move64", destination: temporary(0), source: 0xffff_0000_6000n },
      { name: "jump-indirect32", source: temporary(0) },
    ]);
    core.block(0x6000n, [leave]);
    core.run(0x1000n);
    expect(core.resolved.map(({ rip }) => rip)).toEqual([0x1000n, 0x5000n, 0x5100n, 0x5005n, 0x1002n, 0x6000n]);
    expect(core.get(register(4))).toBe(0x8108n);
    expect(core.ramView.getUint32(0x30fc, true)).toBe(0x1002);
    expect(core.ramView.getUint32(0x30f8, true)).toBe(0x5005);
  });
});

describe("the budget", () => {
  it("is taken by the block, and not entered without", () => {
    countdown(0x1000n);
    core.set(register(1), 100n);
    expect(core.run(0x1000n, 10)).toBe(runResult.budget);
    expect(core.budget).toBe(1);
    expect(core.get(register(1))).toBe(97n);
    expect(core.get(ripSlot)).toBe(0x1000n);
  });

  it("forces a return when a helper makes it negative", () => {
    countdown(0x1000n);
    core.block(0x2000n, [{ name: "helper" }, jump("jump", -0x1000)]);
    core.set(register(1), 1n);
    core.helper = () => {
      core.view.setInt32(budgetWithheldAt, core.budget + 1, true);
      core.view.setInt32(budgetAt, -1, true);
      return helperResult.next;
    };
    expect(core.run(0x2000n)).toBe(runResult.budget);
    expect(core.get(ripSlot)).toBe(0x1000n);
    expect(core.budget).toBe(-1);
    // Nothing was decoded for a block that is not entered.
    expect(core.resolved).toHaveLength(1);
  });

  it("lets one instruction execute", () => {
    const single = core.block(0x1000n, [
      { name: "increment64", destination: register(0) },
      jump("end", 3, { flags: 0 }),
    ]);
    core.set(ripSlot, 0x1000n);
    core.budget = 1;
    expect(core.exports.run(single)).toBe(runResult.budget);
    expect([core.get(register(0)), core.get(ripSlot), core.budget]).toEqual([1n, 0x1003n, 0]);
    expect(core.resolved).toEqual([]);
  });

  it("gets back what a fault left undone, NOPs counted", () => {
    const skipped = 2 << operationFlag.skippedShift;
    const block = core.block(0x1000n, [
      { name: "move64", destination: register(0), source: 1n, offset: 2, flags: skipped },
      { name: "load64-base", destination: temporary(0), base: register(3), offset: 5, flags: skipped },
      { name: "add64", destination: register(0), source: temporary(0) },
      { name: "increment64", destination: register(0), offset: 9 },
      { name: "end", offset: 12, flags: 1 << operationFlag.skippedShift },
    ]);
    core.faulting.add(0n);
    core.set(ripSlot, 0x1000n);
    core.budget = 100;
    expect(() => core.exports.run(block)).toThrow(TestFault);
    // 2 NOPs, MOV, 2 NOPs are done; the load, INC, a NOP and the end are not.
    const operation = core.slow[0]?.operation as number;
    expect(operation).toBe(block + firstOperation + operationSize);
    expect(100 - core.budget).toBe(9);
    expect(core.exports.unfinishedInstructions(operation)).toBe(4);
    expect(core.exports.unfinishedInstructions(operation + operationSize)).toBe(4);
  });
});

describe("a stale block", () => {
  it("is left at the instruction that is reached, with the budget put right", () => {
    const block = core.block(0x1000n, [
      { name: "increment64", destination: register(0), offset: 0 },
      { name: "helper", offset: 3 },
      { name: "increment64", destination: register(0), offset: 6 },
      jump("jump", 0x100, { offset: 9 }),
    ]);
    core.block(0x1006n, [
      { name: "add64", destination: register(0), source: 100n },
      { name: "helper", auxiliary: 1, offset: 4 },
    ]);
    core.helper = (number) => {
      if (number === 1) return helperResult.leave;
      for (const index of [0, 1, 2, 3]) {
        core.view.setUint16(block + firstOperation + index * operationSize, operationKind("stale"), true);
      }
      return helperResult.next;
    };
    core.run(0x1000n, 50);
    expect(core.get(register(0))).toBe(101n);
    expect(core.resolved.map(({ rip }) => rip)).toEqual([0x1000n, 0x1006n]);
    expect(core.budget).toBe(50 - 4);
  });

  /** Makes all instructions of a block stale, as `invalidatePage` does. */
  const makeStale = (block: number, operations: number) => {
    for (let index = 0; index < operations; index++) {
      core.view.setUint16(block + firstOperation + index * operationSize, operationKind("stale"), true);
    }
  };

  it("is not found again in the jump cache, nor linked to", () => {
    const old = core.block(0x1100n, [{ name: "increment64", destination: register(0) }, leave]);
    core.run(0x1100n);
    makeStale(old, 2);
    core.block(0x1100n, [{ name: "add64", destination: register(0), source: 10n }, leave]);
    const from = core.block(0x1000n, [jump("jump", 0x100)]);
    core.caching = false;
    core.run(0x1000n, 50);
    expect(core.get(register(0))).toBe(11n);
    expect(core.resolved.map(({ rip }) => rip)).toEqual([0x1100n, 0x1000n, 0x1100n]);
    expect(core.view.getUint32(from + firstOperation + field.base, true)).toBe(0);
    // The jump, ADD and the helper: what the stale block would have executed was given back.
    expect(core.budget).toBe(50 - 3);
  });
});

describe("helpers", () => {
  it("get their number and operation, and say how to go on", () => {
    const calls: [number, number][] = [];
    const block = core.block(0x1000n, [
      { name: "helper", auxiliary: 7 },
      { name: "increment64", destination: register(0), offset: 3 },
      { name: "helper", auxiliary: 8, offset: 5 },
    ]);
    core.block(0x3000n, [leave]);
    core.helper = (number, operation) => {
      calls.push([number, operation - block - firstOperation]);
      if (number !== 8) return number === 7 ? helperResult.next : helperResult.leave;
      core.set(ripSlot, 0x3000n);
      return helperResult.jump;
    };
    core.run(0x1000n);
    expect(calls.slice(0, 2)).toEqual([
      [7, 0],
      [8, 2 * operationSize],
    ]);
    expect(core.get(register(0))).toBe(1n);
    expect(core.resolved.map(({ rip }) => rip)).toEqual([0x1000n, 0x3000n]);
  });

  it("throw through the core, which can run again", () => {
    core.block(0x1000n, [{ name: "helper" }]);
    core.helper = () => {
      throw new TestFault(6, -1);
    };
    expect(() => core.run(0x1000n)).toThrow(TestFault);
    core.helper = () => helperResult.leave;
    expect(core.run(0x1000n)).toBe(runResult.left);
  });
});

describe("vector operations", () => {
  it("execute within the core", () => {
    const number = vectorOperations.findIndex(({ name }) => name === "paddd");
    core.set(xmmAt, 0x0000_0002_ffff_ffffn);
    core.set(xmmAt + 16, 0x0000_0003_0000_0002n);
    core.execute({ name: "vector", auxiliary: number, destination: xmmAt, source: xmmAt + 16 });
    expect(core.get(xmmAt)).toBe(0x0000_0005_0000_0001n);
  });
});
