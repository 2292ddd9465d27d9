import { describe, expect, test } from "vitest";
import { floatHelpers } from "../src/float/index.ts";
import { NativeInstructions } from "./support/native-instructions.ts";
import { Random } from "./support/random.ts";
import {
  describeVector,
  randomVectorCase,
  testedOperations,
  type VectorCase,
  VectorInterpreter,
} from "./support/vector-cases.ts";

/** Every processor family has its own tables for these. */
const approximations = new Set(["rcpps", "rcpss", "rsqrtps", "rsqrtss"]);

// For a long run: CPR_FLOAT_ROUNDS (cases for each operation) and CPR_FLOAT_SEED in the environment.
const rounds = Number(process.env["CPR_FLOAT_ROUNDS"] ?? 40);

describe("vector operations compared with this machine's processor", () => {
  using native = new NativeInstructions();
  const random = new Random(Number(process.env["CPR_FLOAT_SEED"] ?? 3));
  const cases = testedOperations.flatMap((operation) =>
    Array.from({ length: rounds }, () => randomVectorCase(random, operation)),
  );
  const outcomes = native.run(cases);
  const interpreter = new VectorInterpreter(floatHelpers);
  const pairs = cases.map((item, index) => ({ item, mine: interpreter.run(item), expected: outcomes[index] }));

  test("results, MXCSR, flags and general registers agree in every bit", () => {
    let compared = 0;
    for (const { item, mine, expected } of pairs) {
      if (expected === undefined) throw new Error("an outcome is missing");
      if (approximations.has(item.operation.name)) continue;
      const label = `${item.operation.name} ${Buffer.from(item.code).toString("hex")}`;
      expect(describeVector(mine), label).toEqual(describeVector(expected));
      compared++;
    }
    expect(compared).toBeGreaterThan(200 * rounds);
  });

  test("approximations have the relative error that the manuals allow", () => {
    for (const { item, mine } of pairs.filter(({ item }) => approximations.has(item.operation.name))) {
      for (const [operand, result] of lanes(item, mine.image)) {
        if (!Number.isFinite(operand) || operand < 2 ** -126 || operand > 2 ** 125) continue;
        const exact = item.operation.name.startsWith("rsqrt") ? 1 / Math.sqrt(operand) : 1 / operand;
        expect(Math.abs(result / exact - 1)).toBeLessThanOrEqual(1.5 * 2 ** -12);
      }
    }
  });

  test("plain operands do not need software", () => {
    const plain = testedOperations.find(({ name }) => name === "addsd");
    if (plain === undefined) throw new Error("no addsd");
    const item = randomVectorCase(new Random(1), plain);
    const view = new DataView(item.image.buffer);
    view.setUint32(24, 0x1f80, true);
    for (let register = 0; register < 16; register++) view.setFloat64(160 + 16 * register, 1.5 + register, true);
    new DataView(item.memory.buffer).setFloat64(0, 3.25, true);
    const before = interpreter.exactCalls;
    const outcome = interpreter.run(item);
    expect(interpreter.exactCalls).toBe(before);
    const result = new DataView(outcome.image.buffer).getFloat64(160 + 16 * item.form.destination, true);
    expect(result).toBe(1.5 + item.form.destination + (item.form.memory ? 3.25 : 1.5 + item.form.source));
  });
});

/** Operand and result of each element that was computed. */
function lanes(item: VectorCase, image: Uint8Array): [number, number][] {
  const before = new DataView(item.image.buffer);
  const after = new DataView(image.buffer, image.byteOffset);
  const operand = item.form.memory ? new DataView(item.memory.buffer) : before;
  const from = item.form.memory ? 0 : 160 + 16 * item.form.source;
  const count = item.operation.name.endsWith("ps") ? 4 : 1;
  return Array.from({ length: count }, (_, lane) => [
    operand.getFloat32(from + 4 * lane, true),
    after.getFloat32(160 + 16 * item.form.destination + 4 * lane, true),
  ]);
}
