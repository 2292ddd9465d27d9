import { existsSync } from "node:fs";
import { FakeHost, type FakeHostFiles } from "@cpr/testkit/fakes";
import { hostCheckCompliance } from "@cpr/testkit/host-check";
import { expect, test } from "vitest";
import { KexecHostCheck } from "../src/index.ts";

const ready = {
  "/sys/kernel/kexec_loaded": "0\n",
  "/proc/sys/kernel/kexec_load_disabled": "0\n",
  "/proc/sys/kernel/osrelease": "6.1.0\n",
  "/boot/config-6.1.0": "CONFIG_KEXEC=y\nCONFIG_KEXEC_FILE=y\n",
  "/sys/kernel/security/lockdown": "[none] integrity confidentiality\n",
  "/usr/sbin/kexec": "",
  "/run/systemd/system/units": "",
  "/usr/bin/systemctl": "",
  "/proc/self/status": "Name:\tcpr\nCapEff:\t000001ffffffffff\n",
} as const;

const hosts = {
  "a host that is ready": ready,
  "a host with another kernel loaded": { ...ready, "/sys/kernel/kexec_loaded": "1\n" },
  "a host that is locked down": { ...ready, "/sys/kernel/security/lockdown": "none [integrity] confidentiality\n" },
  "a host where it is turned off": { ...ready, "/proc/sys/kernel/kexec_load_disabled": "1\n" },
  "a host of an unprivileged user": { ...ready, "/proc/self/status": "CapEff:\t0000000000000000\n" },
} as const satisfies Record<string, FakeHostFiles>;

hostCheckCompliance({ name: "kexec", create: (host) => new KexecHostCheck(host), hosts });

const look = async (files: FakeHostFiles) =>
  Object.fromEntries(
    (await new KexecHostCheck(new FakeHost(files)).examine()).map(({ subject, ...rest }) => [subject, rest]),
  );

test("a host with everything is ready for another kernel", async () => {
  const found = await look(ready);
  expect(new Set(Object.values(found).map(({ status }) => status))).toEqual(new Set(["ready"]));
  expect(found["kernel"]).toMatchObject({ found: "CONFIG_KEXEC, CONFIG_KEXEC_FILE", neededFor: ["replace-kernel"] });
  const loaded = await look(hosts["a host with another kernel loaded"]);
  expect(loaded["kernel"]?.found).toMatch(/; another kernel is loaded$/);
});

test("a host with nothing lacks all of it, and says what to do", async () => {
  // NOTE: without /proc/self/status nobody knows what this user may do.
  expect(await look({})).toMatchObject({
    kernel: { status: "missing", found: "this kernel was built without kexec" },
    "kexec-tools": { status: "missing", remedy: expect.stringContaining("apt-get install kexec-tools") },
    "systemctl kexec": { status: "limited", remedy: expect.stringMatching(/then kexec -e/) },
    permission: { status: "limited" },
  });
});

test.each([
  ["a host that is locked down", "lockdown", "limited", /^integrity: only a signed kernel/, /kexec -s -l KERNEL/],
  ["a host where it is turned off", "kernel", "missing", /kexec_load_disabled is 1/, /reboot once/],
  ["a host of an unprivileged user", "permission", "limited", /may not/, /sudo systemctl kexec/],
] as const)("of %s", async (label, subject, status, found, remedy) => {
  expect((await look(hosts[label]))[subject]).toMatchObject({
    status,
    found: expect.stringMatching(found),
    remedy: expect.stringMatching(remedy),
    neededFor: ["replace-kernel"],
  });
});

test("what was loaded before it was turned off can still be started", async () => {
  const { kernel } = await look({ ...hosts["a host where it is turned off"], "/sys/kernel/kexec_loaded": "1\n" });
  expect(kernel).toMatchObject({ status: "limited", found: expect.stringMatching(/no other kernel/) });
});

test("on this machine, the kernel can if it says whether one is loaded", async () => {
  const kernel = (await new KexecHostCheck().examine()).find(({ subject }) => subject === "kernel");
  expect(kernel?.found === "this kernel was built without kexec").toBe(!existsSync("/sys/kernel/kexec_loaded"));
});
