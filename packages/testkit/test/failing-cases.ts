import type { ComplianceCase } from "../src/compliance-case.ts";

/** The names of the cases that fail, in the order of the suite. */
export async function failingCases(cases: readonly ComplianceCase[]): Promise<string[]> {
  const failing: string[] = [];
  for (const { name, run } of cases) {
    await run().catch(() => failing.push(name));
  }
  return failing;
}
