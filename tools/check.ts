import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { checkManifests } from "./check-manifests.ts";
import { checkSources } from "./check-sources.ts";
import { checkTarballs } from "./check-tarballs.ts";
import { checkErrorDocs } from "./generate-error-docs.ts";
import { checkLayering } from "./layering.ts";
import type { Count } from "./vitest-report.ts";
import { root } from "./workspace.ts";

/** One check: its name, and what it finds wrong, a line each (nothing when all is well). */
interface Check {
  readonly name: string;
  readonly run: () => Promise<readonly string[]> | readonly string[];
}

/** Runs one of the tools in node_modules; its own output is the list of problems. */
function tool(script: string, args: readonly string[]): readonly string[] {
  const { status, stdout, stderr, error } = spawnSync(process.execPath, [join(root, "node_modules", script), ...args], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  if (status === 0) return [];
  return [`${stdout}${stderr}${error?.message ?? ""}`.trim() || `${script} ended with status ${status}`];
}

async function layering(): Promise<readonly string[]> {
  const { modules, violations } = await checkLayering(root);
  // NOTE: without a parser for TypeScript, dependency-cruiser reads nothing and finds nothing wrong.
  return modules === 0 ? ["no module was read"] : violations;
}

const checks: readonly Check[] = [
  {
    name: "format and lint",
    run: () =>
      tool("@biomejs/biome/bin/biome", ["ci", "--colors=off", "--error-on-warnings", "--diagnostic-level=warn", "."]),
  },
  { name: "types", run: () => tool("typescript/bin/tsc", ["-b", "--pretty", "false"]) },
  { name: "sources", run: checkSources },
  { name: "layering", run: layering },
  { name: "manifests", run: () => checkManifests() },
  { name: "docs/errors.md", run: checkErrorDocs },
  { name: "unused code and dependencies", run: () => tool("knip/bin/knip.js", ["--no-progress", "--no-config-hints"]) },
  { name: "packed packages", run: checkTarballs },
];

/** What a check finds; a check that cannot be carried out has found a problem too. */
async function problemsOf(run: Check["run"]): Promise<readonly string[]> {
  try {
    return await run();
  } catch (error) {
    return [error instanceof Error ? (error.stack ?? error.message) : String(error)];
  }
}

/** Runs all checks, tells about each, and counts. */
export async function runChecks(): Promise<Count> {
  let failed = 0;
  for (const { name, run } of checks) {
    const start = performance.now();
    const problems = await problemsOf(run);
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    console.log(`${problems.length === 0 ? "ok    " : "FAILED"} ${name} (${seconds} s)`);
    for (const problem of problems) console.log(problem.replace(/^/gm, "       "));
    if (problems.length > 0) failed += 1;
  }
  return { passed: checks.length - failed, failed };
}

if (import.meta.main) {
  const { failed } = await runChecks();
  process.exitCode = failed === 0 ? 0 : 1;
}
