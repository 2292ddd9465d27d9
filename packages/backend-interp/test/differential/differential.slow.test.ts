import { expect, test } from "vitest";
import { runDifferential } from "./differential.ts";

/**
 * Random sequences of instructions, natively and in the interpreter. The seeds are fixed: a difference found by
 * `npm run differential` that a new seed would be needed for belongs in a test of its own.
 */
test.for([1, 2, 3, 4])(
  "random sequences do what the host's processor does, seed %i",
  { timeout: 120_000 },
  async (seed) => {
    const result = await runDifferential({ seed, batches: 6 });
    expect(result.reports.join("\n\n")).toBe("");
    expect(result.instructions).toBeGreaterThan(150_000);
    // Sequences reach their ends, and faults of all kinds are met.
    for (const [vector, least] of [
      [0, 50],
      [6, 4000],
      [13, 100],
      [14, 100],
      [16, 10],
      [19, 10],
    ] as const) {
      expect(result.vectors.get(vector), `exception ${vector}`).toBeGreaterThan(least);
    }
    expect(result.passedOver).toBeLessThan(result.sequences / 100);
  },
);

test("a wrong result is found, and made short", async () => {
  const { reports } = await runDifferential({
    seed: 1,
    batches: 1,
    mostReports: 2,
    tamper: ({ code }, { registers }) => {
      const isPopcnt = (byte: number, at: number) => byte === 0x0f && code[at + 1] === 0xb8 && code[at - 1] === 0xf3;
      if (code.some(isPopcnt)) registers[0] = (registers[0] as number) ^ 1;
    },
  });
  expect(reports).toHaveLength(2);
  for (const report of reports) {
    // A loop around it is left whole.
    expect(report).toMatch(/^seed 1, batch 0, sequence \d+: (32|64)-bit code\n( {2}.*\n){1,7} starts with\n/);
    expect(report).toMatch(/\n {2}.* popcnt .*\n/);
    expect(report).toMatch(/\n {2}rax: expected [0-9a-f]{16}, got [0-9a-f]{16}$/);
  }
});
