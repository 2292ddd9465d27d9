import { describe, expect, it } from "vitest";
import type { OperationName } from "../../src/operations.ts";
import { CoreHarness, register } from "./core-harness.ts";
import {
  add,
  allFlags,
  CF,
  condition,
  logical,
  type Outcome,
  Random,
  rotate,
  rotateThroughCarry,
  shift,
  shiftDouble,
  signed,
  subtract,
  unsigned,
  type Width,
  widths,
  written,
} from "./integer-oracle.ts";

const core = new CoreHarness();
const random = new Random();
const destination = register(3);
const source = register(6);
const rounds = 200;

/** Executes the operation on random operands and compares result and flags with the oracle's. */
function compare(
  name: OperationName,
  width: Width,
  expected: (x: bigint, y: bigint, flags: number) => Outcome,
  { result: hasResult = true }: { result?: boolean } = {},
): void {
  for (let round = 0; round < rounds; round++) {
    const [x, y, flags] = [random.operand(), random.operand(), random.flags()];
    core.set(destination, x);
    core.set(source, y);
    core.flags = flags;
    core.execute({ name, destination, source });
    const outcome = expected(x, y, flags);
    const what = `${name} of ${x.toString(16)} and ${y.toString(16)}, flags ${flags.toString(16)}`;
    const now = hasResult ? written(width, x, outcome.result) : x;
    expect(core.get(destination).toString(16), what).toBe(now.toString(16));
    if (name.startsWith("exchange-add")) {
      expect(core.get(source), what).toBe(written(width, y, x));
    } else {
      expect(core.get(source), what).toBe(y);
    }
    const wanted = (flags & ~outcome.changed) | (outcome.flags & outcome.changed);
    const mask = outcome.defined | (allFlags & ~outcome.changed);
    expect((core.flags & mask).toString(16), what).toBe((wanted & mask).toString(16));
    expect(core.flags & 2, what).toBe(2);
  }
}

const name = (text: string): OperationName => text as OperationName;

describe.each(widths)("arithmetic of %i bits", (width) => {
  it("adds and subtracts, with and without carry", () => {
    compare(name(`add${width}`), width, (x, y) => add(width, x, y, 0n));
    compare(name(`adc${width}`), width, (x, y, flags) => add(width, x, y, BigInt(flags & CF)));
    compare(name(`subtract${width}`), width, (x, y) => subtract(width, x, y, 0n));
    compare(name(`sbb${width}`), width, (x, y, flags) => subtract(width, x, y, BigInt(flags & CF)));
    compare(name(`compare${width}`), width, (x, y) => subtract(width, x, y, 0n), { result: false });
    compare(name(`exchange-add${width}`), width, (x, y) => add(width, x, y, 0n));
  });

  it("combines bits", () => {
    compare(name(`and${width}`), width, (x, y) => logical(width, x & y));
    compare(name(`or${width}`), width, (x, y) => logical(width, x | y));
    compare(name(`xor${width}`), width, (x, y) => logical(width, x ^ y));
    compare(name(`test${width}`), width, (x, y) => logical(width, x & y), { result: false });
    compare(name(`not${width}`), width, (x) => ({ result: unsigned(width, ~x), flags: 0, changed: 0, defined: 0 }));
  });

  it("counts up and down without touching CF, and negates", () => {
    const keepsCarry = (outcome: Outcome): Outcome => ({
      ...outcome,
      changed: allFlags & ~CF,
      defined: allFlags & ~CF,
    });
    compare(name(`increment${width}`), width, (x) => keepsCarry(add(width, x, 1n, 0n)));
    compare(name(`decrement${width}`), width, (x) => keepsCarry(subtract(width, x, 1n, 0n)));
    compare(name(`negate${width}`), width, (x) => subtract(width, 0n, x, 0n));
  });

  it("shifts", () => {
    compare(name(`shift-left${width}`), width, (x, y) => shift("left", width, x, Number(y & 0xffn)));
    compare(name(`shift-right${width}`), width, (x, y) => shift("right", width, x, Number(y & 0xffn)));
    compare(name(`shift-arithmetic${width}`), width, (x, y) => shift("arithmetic", width, x, Number(y & 0xffn)));
  });

  it("rotates", () => {
    const carry = (flags: number) => flags & CF;
    compare(name(`rotate-left${width}`), width, (x, y) => rotate("left", width, x, Number(y & 0xffn)));
    compare(name(`rotate-right${width}`), width, (x, y) => rotate("right", width, x, Number(y & 0xffn)));
    for (const direction of ["left", "right"] as const) {
      compare(name(`rotate-carry-${direction}${width}`), width, (x, y, flags) =>
        rotateThroughCarry(direction, width, x, Number(y & 0xffn), carry(flags)),
      );
    }
  });

  it("shifts and rotates by every count", () => {
    for (let count = 0; count < 256; count++) {
      const x = random.next();
      core.set(destination, x);
      core.execute({ name: name(`rotate-left${width}`), destination, source: BigInt(count) });
      expect(core.get(destination)).toBe(written(width, x, rotate("left", width, x, count).result));
      core.execute({ name: name(`shift-arithmetic${width}`), destination, source: BigInt(count) });
      expect(signed(width, core.get(destination))).toBe(
        signed(width, shift("arithmetic", width, rotate("left", width, x, count).result, count).result),
      );
    }
  });
});

describe.each([16, 32, 64] as const)("double shifts of %i bits", (width) => {
  it.each(["left", "right"] as const)("fills from the source, to the %s", (direction) => {
    const counter = register(1);
    for (let round = 0; round < 2 * rounds; round++) {
      const [x, y, flags, count] = [random.operand(), random.operand(), random.flags(), random.below(256)];
      core.set(destination, x);
      core.set(source, y);
      core.set(counter, BigInt(count) | 0xabcd_00n);
      core.flags = flags;
      core.execute({ name: name(`shift-double-${direction}${width}`), destination, source, base: counter });
      const outcome = shiftDouble(direction, width, x, y, count);
      if (!outcome.resultDefined) continue;
      const what = `${x.toString(16)} ${y.toString(16)} by ${count}`;
      expect(core.get(destination).toString(16), what).toBe(written(width, x, outcome.result).toString(16));
      const wanted = (flags & ~outcome.changed) | (outcome.flags & outcome.changed);
      const mask = outcome.defined | (allFlags & ~outcome.changed);
      expect((core.flags & mask).toString(16), what).toBe((wanted & mask).toString(16));
    }
  });
});

describe("flags", () => {
  const kinds = ["sum", "difference", "increment", "decrement", "result", "explicit"] as const;

  /** Lazy flags of a random kind, and the RFLAGS that they stand for. */
  function randomLazyFlags(): number {
    const kind = kinds[random.below(kinds.length)] as (typeof kinds)[number];
    const width = widths[random.below(4)] as Width;
    const x = random.operand();
    const y = kind === "increment" || kind === "decrement" ? 1n : random.operand();
    const stored = random.flags();
    const outcome =
      kind === "sum" || kind === "increment"
        ? add(width, x, y, 0n)
        : kind === "result"
          ? logical(width, x)
          : subtract(width, x, y, 0n);
    core.setLazyFlags(kind, signed(width, outcome.result), signed(width, x), signed(width, y), stored);
    if (kind === "explicit") return stored;
    if (kind === "result") return (stored & ~(0x80 | 0x40 | 4)) | outcome.flags;
    if (kind === "sum" || kind === "difference") return outcome.flags | 2;
    return (outcome.flags & ~CF) | (stored & CF) | 2;
  }

  it("read the same whatever form they are in", () => {
    for (let round = 0; round < 1000; round++) {
      const expected = randomLazyFlags();
      expect(core.flags.toString(16)).toBe(expected.toString(16));
      core.execute({ name: "load-flags-into-ah" });
      expect(Number((core.get(register(0)) >> 8n) & 0xffn)).toBe((expected & 0xd5) | 2);
    }
  });

  it("keep their other bits when one is changed", () => {
    for (let round = 0; round < 300; round++) {
      const before = randomLazyFlags();
      core.execute({ name: "set-carry" });
      expect(core.flags).toBe(before | CF);
      core.execute({ name: "complement-carry" });
      expect(core.flags).toBe(before & ~CF);
      core.execute({ name: "complement-carry" });
      core.execute({ name: "clear-carry" });
      expect(core.flags).toBe(before & ~CF);
      core.execute({ name: "set-direction" });
      expect(core.flags).toBe((before & ~CF) | 0x400);
      core.execute({ name: "clear-direction" });
      core.set(register(0), 0xff00n);
      core.execute({ name: "store-ah-into-flags" });
      expect(core.flags).toBe((before & ~0xd5) | 0xd5);
    }
  });

  it("carry through instructions that keep CF, in whatever form they were", () => {
    for (let round = 0; round < 300; round++) {
      const before = randomLazyFlags();
      core.set(destination, random.operand());
      core.execute({ name: random.below(2) === 0 ? "increment32" : "decrement16", destination });
      expect(core.flags & CF).toBe(before & CF);
      const [x, y] = [random.operand(), random.operand()];
      core.set(destination, x);
      core.set(source, y);
      core.execute({ name: "adc64", destination, source });
      expect(core.get(destination)).toBe(unsigned(64, x + y + BigInt(before & CF)));
    }
  });

  it("decide conditions", () => {
    for (let round = 0; round < 1500; round++) {
      const flags = randomLazyFlags();
      const code = random.below(16);
      core.set(destination, 0xffn);
      core.execute({ name: "set-if", destination, auxiliary: code });
      expect(core.get(destination), `condition ${code} of ${flags.toString(16)}`).toBe(
        condition(code, flags) ? 1n : 0n,
      );
      core.forgetBlocks();
      core.block(0x1000n, [
        { name: name(`jump-if-${code}`), displacement: 0x100, base: 0, index: 0, immediate: 0x200n },
      ]);
      core.block(0x1100n, [{ name: "move64", destination, source: 5n }, { name: "helper" }]);
      core.block(0x1200n, [{ name: "move64", destination, source: 6n }, { name: "helper" }]);
      core.caching = false;
      core.run(0x1000n);
      expect(core.get(destination), `jump ${code} of ${flags.toString(16)}`).toBe(condition(code, flags) ? 5n : 6n);
    }
  });
});
