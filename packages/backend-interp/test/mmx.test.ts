import { expect, test } from "vitest";
import { floatHelpers } from "../src/float/index.ts";
import { GuestInstructions } from "./support/guest-instructions.ts";
import { mmxOpcodes, randomMmxCase } from "./support/mmx-cases.ts";
import { NativeInstructions } from "./support/native-instructions.ts";
import { Random } from "./support/random.ts";
import { describe87, X87Interpreter } from "./support/x87-cases.ts";

test("MMX instructions do what this machine's processor does", () => {
  using native = new NativeInstructions();
  const random = new Random(7);
  const cases = mmxOpcodes.flatMap((opcode) => Array.from({ length: 40 }, () => randomMmxCase(random, opcode)));
  const outcomes = native.run(cases);
  const interpreter = new X87Interpreter(floatHelpers);
  cases.forEach((item, index) => {
    const expected = outcomes[index];
    if (expected === undefined) throw new Error("an outcome is missing");
    expect(
      describe87(interpreter.run(item, item.fields)),
      `${item.name} ${Buffer.from(item.code).toString("hex")}`,
    ).toEqual(describe87(expected));
  });
  expect(cases.length).toBeGreaterThan(3000);

  // And through decoder and core.
  const guest = new GuestInstructions();
  cases.forEach((item, index) => {
    const expected = outcomes[index];
    if (index % 8 !== 0 || expected === undefined) return;
    expect(describe87(guest.run(item)), item.name).toEqual(describe87(expected));
  });
});
