import { describe, it } from "vitest";
import type { ComplianceCase } from "./compliance-case.ts";

/** Registers cases with vitest, in a block of their own. */
export function registerCases(title: string, cases: readonly ComplianceCase[]): void {
  describe(title, () => {
    for (const { name, run } of cases) {
      it(name, run);
    }
  });
}
