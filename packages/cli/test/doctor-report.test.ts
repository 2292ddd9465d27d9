import type { HostCheck, HostFinding } from "@cpr/core";
import { expect, test } from "vitest";
import { describeReport, examineHost } from "../src/doctor-report.ts";
import { judgeAbilities } from "../src/host-abilities.ts";

const check = (name: string, examine: HostCheck["examine"]): HostCheck => ({ name, summary: `About ${name}`, examine });

const finding = (subject: string, status: HostFinding["status"], more: Partial<HostFinding> = {}): HostFinding => ({
  subject,
  status,
  found: `${status} it is`,
  ...(status === "ready" ? {} : { remedy: "Do something." }),
  ...more,
});

const verdictOf = (...findings: HostFinding[]) => {
  const { verdict, because } = judgeAbilities(findings).find(({ ability }) => ability === "replace-kernel") ?? {};
  return [verdict, because];
};

test("an ability needs all that is needed, and one of what is enough", () => {
  const neededFor = ["replace-kernel"] as const;
  const enoughFor = ["restart", "replace-kernel"] as const;
  const kexec = finding("kexec", "ready", { neededFor });
  const device = finding("device", "ready", { enoughFor });
  expect(verdictOf(kexec, device, finding("other device", "missing", { enoughFor }))).toEqual(["yes", []]);
  expect(verdictOf(kexec, finding("device", "limited", { enoughFor }), device)).toEqual(["yes", []]);
  expect(verdictOf(kexec, finding("device", "limited", { enoughFor }))).toEqual(["limited", ["device: limited it is"]]);
  expect(verdictOf(finding("kexec", "limited", { neededFor }), device)).toEqual(["limited", ["kexec: limited it is"]]);
  expect(verdictOf(finding("kexec", "missing", { neededFor }), device)).toEqual(["no", ["kexec: missing it is"]]);
  expect(verdictOf(kexec, finding("device", "missing", { enoughFor, found: "no device" }))).toEqual([
    "no",
    ["no device"],
  ]);
  expect(verdictOf(kexec)).toEqual(["no", []]);
});

test("the report is in columns, with what to do below what is not ready, and ends with what the host can do", async () => {
  const report = await examineHost(
    [
      check("one", async () => [finding("a thing", "ready", { enoughFor: ["run"] }), finding("b", "limited")]),
      check("two", async () => [finding("device", "missing", { enoughFor: ["full-speed"] })]),
    ],
    1000,
  );
  expect(describeReport(report).split("\n").slice(0, 13)).toEqual([
    "About one",
    "  ready    a thing  ready it is",
    "  limited  b        limited it is",
    "                    -> Do something.",
    "",
    "About two",
    "  missing  device   missing it is",
    "                    -> Do something.",
    "",
    "This host can",
    "  yes      run VMs",
    "  no       run VMs at the speed of its processor",
    "             device: missing it is",
  ]);
});

test("a check that throws, and one that does not end, are findings; the others are heard", async () => {
  const { checks } = await examineHost(
    [
      check("throwing", () => {
        throw new Error("a fault");
      }),
      check("refused", () => Promise.reject(Object.assign(new Error("EACCES"), { code: "EACCES" }))),
      check("endless", () => new Promise(() => undefined)),
      check("good", async () => [finding("thing", "ready")]),
    ],
    20,
  );
  expect(checks.map(({ name, findings: [first] }) => [name, first?.status, first?.found])).toEqual([
    ["throwing", "limited", "it failed: a fault"],
    ["refused", "limited", "it failed: Permission denied"],
    ["endless", "limited", "it failed: it does not end"],
    ["good", "ready", "ready it is"],
  ]);
});
