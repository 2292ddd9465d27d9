/** The part of vitest's JSON report that is read here. */
export interface VitestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly testResults: readonly { readonly status: string; readonly assertionResults: readonly unknown[] }[];
}

/** How many tests (or checks) passed, and how many did not. */
export interface Count {
  readonly passed: number;
  readonly failed: number;
}

/**
 * Counts a run of vitest from its report (none if vitest did not get that far) and its exit status.
 *
 * A test file that cannot be loaded counts as one failure, and so does an error outside of any test, and a run without a
 * single test: what did not run did not pass.
 */
export function countReport(report: VitestReport | undefined, status: number | null): Count {
  if (report === undefined) return { passed: 0, failed: 1 };
  const unloaded = report.testResults.filter(
    ({ status, assertionResults }) => status === "failed" && assertionResults.length === 0,
  ).length;
  const passed = report.numPassedTests;
  const failed = report.numFailedTests + unloaded;
  return { passed, failed: failed === 0 && (status !== 0 || passed === 0) ? 1 : failed };
}
