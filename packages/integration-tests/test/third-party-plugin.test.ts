import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { root } from "../../../tools/workspace.ts";
import { PackedRegistry } from "./installed-packages.ts";

const run = promisify(execFile);

let folder: string;
let registry: PackedRegistry;
/** The example plugin's own project, where its author builds and tests it. */
let project: string;

beforeAll(async () => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "cpr-third-party-")));
  registry = new PackedRegistry(folder);
  const fixture = join(root, "fixtures/third-party-plugin");
  cpSync(fixture, join(folder, "project"), { recursive: true });
  project = await registry.install("project", JSON.parse(readFileSync(join(fixture, "package.json"), "utf8")));
  await run(process.execPath, [join(root, "node_modules/typescript/bin/tsc")], { cwd: project });
}, 120_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("a plugin outside the workspace", () => {
  test("sees our packages as they are published", () => {
    const core = realpathSync(join(project, "node_modules/@cpr/core"));
    expect(core.startsWith(project)).toBe(true);
    expect(existsSync(join(core, "dist/index.js"))).toBe(true);
    expect(existsSync(join(core, "tsconfig.json"))).toBe(false);
  });

  test("passes the compliance suites that the testkit brings it", async () => {
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
        readonly assertionResults: readonly { readonly status: string }[];
      }[];
    };
    const others = testResults.flatMap(({ message, assertionResults }) => [
      ...(message === "" ? [] : [message]),
      ...assertionResults.filter(({ status }) => status !== "passed"),
    ]);
    expect(others).toEqual([]);
    expect(numPassedTests).toBeGreaterThan(15);
  }, 120_000);

  test("is found by an installed cpr beside the built-in plugins, with no privilege on either side", async () => {
    const application = await registry.install("application", {
      name: "application",
      private: true,
      dependencies: {
        "@cpr/cli": "^0.1.0",
        "@cpr/core": "^0.1.0",
        "cpr-transport-parts": `file:${await registry.pack(project)}`,
      },
    });
    const command = join(application, "node_modules/@cpr/cli/bin/cpr.js");
    const { stdout } = await run(process.execPath, [command, "plugins", "--json"], { cwd: application });
    const plugins = JSON.parse(stdout) as readonly { readonly name: string; readonly provides: unknown }[];
    expect(plugins).toContainEqual({
      name: "cpr-transport-parts",
      version: "1.0.0",
      provides: { transport: ["parts"], "migration-blocker": ["hold"] },
    });
    expect(plugins).toContainEqual(expect.objectContaining({ name: "@cpr/transport-file" }));
  }, 120_000);
});
