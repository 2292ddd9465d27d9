import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { buildGuestProgram } from "@cpr/guest-programs";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { CprProcess } from "../../../tools/cpr-process.ts";
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

  test("holds migrations back, and takes them, though nobody knows its names", async () => {
    const hold = join(folder, "hold");
    writeFileSync(hold, "a backup is being made\n");
    const machine = ["-object", `memory-backend-file,id=ram0,size=16M,mem-path=${join(folder, "ram0")},share=on`];
    const settings = ["-global", "migration.mode=cpr-reboot", "-global", "migration.x-ignore-shared=on"];
    const guest = ["-m", "16M", "-kernel", buildGuestProgram("counter"), "-serial", "null", "--plugin", project];
    const first = new CprProcess([...machine, ...guest, ...settings], { PARTS_HOLD: hold });
    onTestFinished(() => first.kill("SIGKILL"));
    await first.ready();
    const uri = `parts:${join(folder, "stream")}`;
    const reason = `Migrations are held back by '${hold}': a backup is being made`;
    expect(await first.command("info migrate")).toContain(reason);
    expect(await first.command(`migrate ${uri}`)).toContain(reason);
    expect(await first.command("info status")).toBe("VM status: running");
    rmSync(hold);
    expect(await first.command("info migrate")).not.toContain(reason);
    expect(await first.command("migrate tcp:127.0.0.1:1")).toMatch(/Use a URI that keeps the bytes: .*parts:…/);
    expect(await first.command(`migrate ${uri}`)).toBe("");
    expect((await first.quit()).status).toBe(0);
    const second = new CprProcess([...machine, ...guest, ...settings, "-incoming", uri], { PARTS_HOLD: hold });
    onTestFinished(() => second.kill("SIGKILL"));
    await second.ready();
    expect(await second.command("info status")).toBe("VM status: running");
    expect((await second.quit()).status).toBe(0);
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
