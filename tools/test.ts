import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type CheckResult, runChecks } from "./check.ts";
import { root } from "./workspace.ts";

/** The part of vitest's JSON report that is read here. */
interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly testResults: readonly { readonly status: string; readonly assertionResults: readonly unknown[] }[];
}

/**
 * Runs vitest with the given arguments.
 *
 * A test file that cannot be loaded and an error outside of any test count as one failure each, and so does a run without a
 * single test: what did not run did not pass.
 */
function runVitest(args: readonly string[]): CheckResult {
  const reportFile = join(root, ".cache/test-report.json");
  mkdirSync(join(root, ".cache"), { recursive: true });
  rmSync(reportFile, { force: true });
  const { status } = spawnSync(
    process.execPath,
    [
      join(root, "node_modules/vitest/vitest.mjs"),
      ...["run", "--reporter=default", "--reporter=json", `--outputFile.json=${reportFile}`],
      ...args,
    ],
    { cwd: root, stdio: ["ignore", "inherit", "inherit"] },
  );
  if (!existsSync(reportFile)) return { passed: 0, failed: 1 };
  const report = JSON.parse(readFileSync(reportFile, "utf8")) as Report;
  const unloaded = report.testResults.filter(
    ({ status, assertionResults }) => status === "failed" && assertionResults.length === 0,
  ).length;
  if (report.numPendingTests > 0) console.log(`${report.numPendingTests} tests were skipped on this machine.`);
  const passed = report.numPassedTests;
  const failed = report.numFailedTests + unloaded;
  return { passed, failed: failed === 0 && (status !== 0 || passed === 0) ? 1 : failed };
}

/**
 * `node tools/test.ts`: all checks and all tests.
 * `node tools/test.ts --quick`: the tests that take seconds, that is, all but those in files named `*.slow.test.ts`.
 * Other arguments go to vitest: `npm test -- --project core` runs one project's tests only.
 *
 * The last line is `N passed, N failed`; the exit status is 0 only when nothing failed.
 */
const args = process.argv.slice(2);
const quick = args.includes("--quick");
const filters = args.filter((argument) => argument !== "--quick");
const results: CheckResult[] = [];
if (!quick && filters.length === 0) results.push(await runChecks());
results.push(runVitest([...filters, ...(quick ? ["--exclude=**/*.slow.test.ts"] : [])]));

const passed = results.reduce((sum, result) => sum + result.passed, 0);
const failed = results.reduce((sum, result) => sum + result.failed, 0);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
