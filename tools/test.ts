import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { runChecks } from "./check.ts";
import { type Count, countReport, type VitestReport } from "./vitest-report.ts";
import { root } from "./workspace.ts";

/** Runs vitest with the given arguments. */
function runVitest(args: readonly string[]): Count {
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
  const report = existsSync(reportFile) ? (JSON.parse(readFileSync(reportFile, "utf8")) as VitestReport) : undefined;
  if (report !== undefined && report.numPendingTests > 0) {
    console.log(`${report.numPendingTests} tests were skipped on this machine.`);
  }
  return countReport(report, status);
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
const counts: Count[] = [];
if (!quick && filters.length === 0) counts.push(await runChecks());
counts.push(runVitest([...filters, ...(quick ? ["--exclude=**/*.slow.test.ts"] : [])]));

const passed = counts.reduce((sum, count) => sum + count.passed, 0);
const failed = counts.reduce((sum, count) => sum + count.failed, 0);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
