import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DoctorReport } from "@cpr/cli";
import type { HostFinding } from "@cpr/core";
import { expect, it } from "vitest";
import { cprCommand } from "../../../tools/cpr-process.ts";
import { scratchFolder } from "./scratch.ts";

const doctor = (words: readonly string[], options: { readonly uid?: number; readonly cwd?: string } = {}) =>
  spawnSync(process.execPath, [cprCommand, "doctor", ...words], {
    encoding: "utf8",
    cwd: "/",
    env: { PATH: process.env["PATH"], CPR_STATE_DIRECTORY: "/nowhere/to/be/found" },
    ...options,
  });

const find = ({ checks }: DoctorReport, check: string, subject: string): HostFinding | undefined =>
  checks.find(({ name }) => name === check)?.findings.find((finding) => finding.subject === subject);

/** A plugin that is found, but cannot be used. */
function brokenPlugin(manifest: object): string {
  const folder = join(scratchFolder(), "broken");
  mkdirSync(folder);
  const exports = { "./plugin": "./plugin.js", "./package.json": "./package.json" };
  writeFileSync(
    join(folder, "package.json"),
    JSON.stringify({ name: "broken", version: "1.0.0", type: "module", exports, cpr: manifest }),
  );
  writeFileSync(join(folder, "plugin.js"), "throw new Error('a fault');\n");
  return folder;
}

it("tells of this machine what it has, as text and as JSON", () => {
  const { status, stdout, stderr } = doctor(["--json"]);
  expect([status, stderr]).toEqual([0, ""]);
  const report = JSON.parse(stdout) as DoctorReport;
  expect(Object.keys(report)).toEqual(["abilities", "checks"]);
  expect(report.checks.map(({ name }) => name)).toEqual(
    expect.arrayContaining([
      "program",
      "plugins",
      "storage",
      "kvm",
      "dax",
      "memfd",
      "shared-memory",
      "huge-pages",
      "kexec",
    ]),
  );
  const verdicts = Object.fromEntries(report.abilities.map(({ ability, verdict }) => [ability, verdict]));
  expect(Object.keys(verdicts)).toEqual(["run", "full-speed", "restart", "reboot", "replace-kernel"]);
  expect(verdicts).toMatchObject({ run: "yes", restart: "yes" });
  if (!existsSync("/dev/kvm")) {
    expect([find(report, "kvm", "/dev/kvm")?.status, verdicts["full-speed"]]).toEqual(["missing", "no"]);
  }
  expect(find(report, "kexec", "kernel")?.status === "missing").toBe(!existsSync("/sys/kernel/kexec_loaded"));

  const text = doctor([]).stdout;
  for (const { subject, status: word, found } of report.checks.flatMap(({ findings }) => findings)) {
    // How much is free changes.
    const beginning = found.split(/\d/)[0] ?? "";
    expect(
      text.split("\n").some((line) => line.startsWith(`  ${word.padEnd(9)}${subject} `) && line.includes(beginning)),
    ).toBe(true);
  }
  expect(text).toContain("\nThis host can\n  yes      run VMs\n");
});

it("works for a user without privileges, who learns what is not permitted", () => {
  // Only root can become somebody else.
  const options = process.getuid?.() === 0 ? { uid: 65_534 } : {};
  const { status, stdout, stderr } = doctor(["--json"], options);
  expect([status, stderr]).toEqual([0, ""]);
  const report = JSON.parse(stdout) as DoctorReport;
  expect(find(report, "storage", "state folder")).toMatchObject({
    status: "missing",
    found: expect.stringMatching(/may not write to \/$/),
  });
  expect(find(report, "kexec", "permission")).toMatchObject({ status: "limited" });
});

it.each([
  ["cannot be loaded", { api: 1, plugin: "./plugin", provides: { transport: ["broken"] } }, "broken", /a fault/],
  [
    "conflicts with another",
    { api: 1, plugin: "./plugin", provides: { transport: ["file"] } },
    "plugins",
    /both provide/,
  ],
  ["is of another version", { api: 2, plugin: "./plugin", provides: {} }, "plugins", /version 2/],
] as const)("a plugin that %s is a finding, and the status tells", (_label, manifest, subject, message) => {
  const { status, stdout, stderr } = doctor(["--json", "--plugin", brokenPlugin(manifest)]);
  const report = JSON.parse(stdout) as DoctorReport;
  expect(find(report, "plugins", subject)).toMatchObject({ status: "missing", found: expect.stringMatching(message) });
  expect(report.abilities[0]).toMatchObject({ ability: "run", verdict: "no" });
  expect(status).toBe(4);
  expect(stderr).toMatch(/^cpr: This host cannot run VMs, nor restart cpr/);
});
