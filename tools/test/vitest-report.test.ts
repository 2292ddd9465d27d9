import { expect, test } from "vitest";
import { countReport, type VitestReport } from "../vitest-report.ts";

const report: VitestReport = {
  numPassedTests: 3,
  numFailedTests: 0,
  numPendingTests: 0,
  testResults: [{ status: "passed", assertionResults: [1, 2, 3] }],
};

test.each([
  ["a good run", report, 0, { passed: 3, failed: 0 }],
  ["failed tests", { ...report, numFailedTests: 2 }, 1, { passed: 3, failed: 2 }],
  [
    "a file that could not be loaded",
    { ...report, testResults: [...report.testResults, { status: "failed", assertionResults: [] }] },
    1,
    { passed: 3, failed: 1 },
  ],
  ["an error outside of any test", report, 1, { passed: 3, failed: 1 }],
  ["a run that was killed", report, null, { passed: 3, failed: 1 }],
  ["a run without tests", { ...report, numPassedTests: 0, testResults: [] }, 0, { passed: 0, failed: 1 }],
  ["a run without a report", undefined, 1, { passed: 0, failed: 1 }],
] as const)("%s is counted", (_, given, status, count) => {
  expect(countReport(given, status)).toEqual(count);
});
