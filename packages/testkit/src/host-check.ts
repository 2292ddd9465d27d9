/**
 * The compliance suite of the `HostCheck` contract.
 *
 * @example
 * ```ts
 * hostCheckCompliance({ name: "kvm", create: (host) => new KvmHostCheck(host), hosts: { "a host with KVM": { "/dev/kvm": "" } } });
 * ```
 *
 * @packageDocumentation
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { type HostCheck, type HostFinding, LinuxHost } from "@cpr/core";
import { CaseList, type ComplianceCase } from "./compliance-case.ts";
import { within } from "./expectations.ts";
import { FakeHost, type FakeHostFile, type FakeHostFiles } from "./fakes/fake-host.ts";
import { registerCases } from "./register-cases.ts";

/** A check to be tested. */
export interface HostCheckFixture {
  readonly name: string;
  /** The check, looking at that host. */
  create(host: LinuxHost): HostCheck;
  /** Hosts to look at, by what they are. The machine of the test and one that has nothing are added. */
  readonly hosts: Readonly<Record<string, FakeHostFiles>>;
}

/** What a file can turn out to be. */
const surprises: Readonly<Record<string, FakeHostFile | undefined>> = {
  "not there": undefined,
  empty: "",
  "full of something else": "\u0000\u00ff -1 0x -\n\n=\n/ , ",
  "one that may not be read": { forbidden: true },
  "a folder": { link: "." },
};

/** How often it is tried whether a check leaves the machine as it was. */
const attempts = 5;

/** The cases for one check, as data. */
export function hostCheckCases(fixture: HostCheckFixture): readonly ComplianceCase[] {
  const hosts: HostCheckFixture["hosts"] = { "a host that has nothing": {}, ...fixture.hosts };
  const examine = (host: LinuxHost): Promise<readonly HostFinding[]> =>
    within(fixture.create(host).examine(), "the end of the check");

  const cases = new CaseList().add("has its name, and one line about itself", () => {
    const { name, summary } = fixture.create(new FakeHost());
    assert.match(name, /^[a-z][a-z0-9-]*$/);
    assert.match(summary, /^\S.*\S$/);
  });
  for (const [label, host] of [
    ["the machine of the test", () => new LinuxHost()],
    ...Object.entries(hosts).map(([each, files]) => [each, () => new FakeHost(files)] as const),
  ] as const) {
    cases.add(`tells of ${label} what it found, and what to do about what is not ready`, async () => {
      checkFindings(await examine(host()));
    });
  }
  return cases
    .add("says the same every time", async () => {
      for (const files of Object.values(hosts)) {
        const host = new FakeHost(files);
        const check = fixture.create(host);
        const first = await check.examine();
        assert.deepEqual(await check.examine(), first);
        assert.deepEqual(await examine(host), first);
      }
    })
    .add("takes files for what they are, whatever is in them", async () => {
      for (const [label, files] of Object.entries(hosts)) {
        for (const path of Object.keys(files)) {
          for (const [what, surprise] of Object.entries(surprises)) {
            const { [path]: _, ...others } = files;
            const host = new FakeHost(surprise === undefined ? others : { ...others, [path]: surprise });
            try {
              checkFindings(await examine(host));
            } catch (cause) {
              throw new Error(`${label}, where ${path} is ${what}: ${String(cause)}`, { cause });
            }
          }
        }
      }
    })
    .add("leaves the process and the machine as they were", async () => {
      const effects = () => ({
        folder: process.cwd(),
        environment: { ...process.env },
        listeners: process.eventNames().map((name) => [name, process.listenerCount(name)]),
        descriptors: readdirSync("/proc/self/fd").length,
        shared: readdirSync("/dev/shm").length,
      });
      // What is loaded for the first time may stay open.
      await examine(new LinuxHost());
      // Others make and remove things meanwhile. What a check leaves behind, it leaves behind each time.
      for (let attempt = 1; ; attempt++) {
        const before = effects();
        await examine(new LinuxHost());
        const after = effects();
        if (attempt === attempts || isDeepStrictEqual(after, before)) {
          assert.deepEqual(after, before);
          return;
        }
      }
    }).cases;
}

function checkFindings(findings: readonly HostFinding[]): void {
  assert.ok(findings.length > 0, "nothing was found");
  for (const { subject, status, found, remedy } of findings) {
    assert.ok(["ready", "limited", "missing"].includes(status), `${subject}: status ${status}`);
    for (const text of [subject, found, ...(remedy === undefined ? [] : [remedy])]) {
      assert.match(text, /^\S(.*\S)?$/, `${subject}: not one line of text`);
      assert.doesNotMatch(text, /undefined|NaN|Infinity|\[object/, subject);
    }
    assert.ok(status === "ready" || remedy !== undefined, `${subject}: not a word about what to do`);
  }
  const subjects = findings.map(({ subject }) => subject);
  assert.deepEqual([...new Set(subjects)], subjects, "a subject is there twice");
}

/** Registers the suite of the `HostCheck` contract. */
export function hostCheckCompliance(fixture: HostCheckFixture): void {
  registerCases(`host check ${fixture.name}`, hostCheckCases(fixture));
}
