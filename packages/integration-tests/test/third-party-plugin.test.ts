import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packPackages } from "../../../tools/pack.ts";
import { root } from "../../../tools/workspace.ts";

const run = promisify(execFile);

/**
 * The example plugin in a folder of its own outside the checkout, with our packages as their users get them: packed and
 * installed. Packages by others are links to what the checkout has installed, so that no registry is asked.
 */
let project: string;

const linked = (folder: string): string => `link:${realpathSync(join(root, folder))}`;

beforeAll(async () => {
  project = mkdtempSync(join(tmpdir(), "cpr-third-party-"));
  cpSync(join(root, "fixtures/third-party-plugin"), project, { recursive: true });
  const tarballs = packPackages(join(project, "tarballs"));
  const manifest = JSON.parse(readFileSync(join(project, "package.json"), "utf8"));
  const packed = Object.fromEntries(["@cpr/core", "@cpr/testkit"].map((name) => [name, `file:${tarballs.get(name)}`]));
  const others = Object.fromEntries([
    ...["@types/node", "typescript", "vitest"].map((name) => [name, linked(join("node_modules", name))]),
    ...["reflect-metadata", "tsyringe"].map((name) => [name, linked(join("packages/core/node_modules", name))]),
  ]);
  manifest.devDependencies = { ...manifest.devDependencies, ...packed };
  manifest.pnpm = { overrides: { ...packed, ...others } };
  writeFileSync(join(project, "package.json"), JSON.stringify(manifest));
  const pnpm = join(root, ".cache/tools/node_modules/pnpm/bin/pnpm.cjs");
  await run(process.execPath, [pnpm, "install", "--offline"], { cwd: project, env: { ...process.env, CI: "true" } });
  await run(process.execPath, [join(root, "node_modules/typescript/bin/tsc")], { cwd: project });
}, 120_000);

afterAll(() => rmSync(project, { recursive: true, force: true }));

describe("a plugin outside the workspace", () => {
  test("sees our packages as they are published", () => {
    const core = realpathSync(join(project, "node_modules/@cpr/core"));
    expect(core.startsWith(realpathSync(project))).toBe(true);
    expect(existsSync(join(core, "dist/index.js"))).toBe(true);
    expect(existsSync(join(core, "tsconfig.json"))).toBe(false);
  });

  test("passes the compliance suite that the testkit brings it", async () => {
    const report = join(project, "report.json");
    await run(
      process.execPath,
      [join(root, "node_modules/vitest/vitest.mjs"), "run", "--reporter=json", `--outputFile=${report}`],
      { cwd: project },
    ).catch(() => undefined);
    const { numPassedTests, testResults } = JSON.parse(readFileSync(report, "utf8")) as {
      readonly numPassedTests: number;
      readonly testResults: readonly {
        readonly message: string;
        readonly assertionResults: readonly {
          readonly title: string;
          readonly status: string;
          readonly failureMessages: readonly string[];
        }[];
      }[];
    };
    const others = testResults.flatMap(({ message, assertionResults }) => [
      ...(message === "" ? [] : [message]),
      ...assertionResults.filter(({ status }) => status !== "passed"),
    ]);
    expect(others).toEqual([]);
    expect(numPassedTests).toBeGreaterThan(15);
  }, 120_000);
});
