import { existsSync } from "node:fs";
import type { BackendAvailability, LinuxHost } from "@cpr/core";
import { FakeHost, type FakeHostFiles } from "@cpr/testkit/fakes";
import { hostCheckCompliance } from "@cpr/testkit/host-check";
import { expect, test } from "vitest";
import { KvmBackend, KvmHostCheck } from "../src/index.ts";

/** A backend that works, or not, as a test says. */
class OtherBackend extends KvmBackend {
  readonly #availability: BackendAvailability;
  readonly #missing: readonly string[];

  constructor(availability: BackendAvailability, missing: readonly string[] = []) {
    super();
    this.#availability = availability;
    this.#missing = missing;
  }

  override async probe(): Promise<BackendAvailability> {
    return this.#availability;
  }

  override async missingFeatures(model: string): Promise<readonly string[]> {
    return model === "cpr64-v1" ? [] : this.#missing;
  }
}

const works: BackendAvailability = { available: true, note: "it executes the guest" };
const absent: BackendAvailability = { available: false, reason: "/dev/kvm is missing", hint: "modprobe" };

const cpuinfo = (flags: string): string => `processor\t: 0\nflags\t\t: fpu ${flags} lm\n`;

const hosts = {
  "a host with AMD-V": { "/proc/cpuinfo": cpuinfo("svm"), "/sys/module/kvm_amd/parameters/npt": "1\n", "/dev/kvm": "" },
  "a VM with VT-x": {
    "/proc/cpuinfo": cpuinfo("hypervisor vmx"),
    "/sys/module/kvm_intel/parameters/ept": "N\n",
  },
  "a VM without": { "/proc/cpuinfo": cpuinfo("hypervisor"), "/sys/module/kvm_pvm/parameters/force": "N\n" },
  "a kernel without": {
    "/proc/cpuinfo": cpuinfo("svm"),
    "/proc/sys/kernel/osrelease": "6.1.0\n",
    "/boot/config-6.1.0": "# CONFIG_KVM is not set\nCONFIG_SMP=y\n",
  },
  "a module that is not loaded": { "/proc/cpuinfo": cpuinfo("svm") },
} as const satisfies Record<string, FakeHostFiles>;

for (const [name, create] of [
  ["kvm", (host: LinuxHost) => new KvmHostCheck(host)],
  ["kvm that works", (host: LinuxHost) => new KvmHostCheck(host, new OtherBackend(works, ["avx2"]))],
] as const) {
  hostCheckCompliance({ name, create, hosts });
}

const look = async (label: keyof typeof hosts, backend = new OtherBackend(absent)) =>
  Object.fromEntries(
    (await new KvmHostCheck(new FakeHost(hosts[label]), backend).examine()).map(({ subject, ...rest }) => [
      subject,
      rest,
    ]),
  );

test("a host with everything is ready", async () => {
  const found = await look("a host with AMD-V", new OtherBackend(works));
  expect(Object.values(found).map(({ status }) => status)).toEqual(["ready", "ready", "ready", "ready"]);
  expect(found).toMatchObject({
    processor: { found: "AMD-V (svm)" },
    "kernel module": { found: "kvm_amd" },
    "/dev/kvm": { found: "it executes the guest", enoughFor: ["full-speed"] },
    "CPU models": { found: expect.stringContaining("cpr64-v1") },
  });
});

test("a VM says that it is one, and nested paging that is off costs speed", async () => {
  expect(await look("a VM with VT-x")).toMatchObject({
    processor: { status: "ready", found: "Intel VT-x (vmx), nested: this host is a VM itself" },
    "kernel module": { status: "limited", remedy: expect.stringContaining("modprobe kvm_intel ept=1") },
    "/dev/kvm": { status: "missing", found: "/dev/kvm is missing", remedy: "modprobe" },
  });
});

test("a processor that cannot is told what to turn on where, and a KVM that works all the same is no fast one", async () => {
  expect(await look("a VM without", new OtherBackend(works))).toMatchObject({
    processor: {
      status: "missing",
      remedy: expect.stringMatching(/^Turn nested virtualization on/),
      neededFor: ["full-speed"],
    },
    "kernel module": { status: "limited", found: "kvm_pvm, and neither kvm_amd nor kvm_intel" },
    "/dev/kvm": { status: "ready" },
  });
});

test("a kernel without KVM is told from a module that is not loaded", async () => {
  expect((await look("a kernel without"))["kernel module"]).toMatchObject({
    status: "missing",
    found: "this kernel was built without KVM",
    remedy: expect.stringContaining("CONFIG_KVM_AMD"),
  });
  expect((await look("a module that is not loaded"))["kernel module"]).toMatchObject({
    status: "missing",
    remedy: "modprobe kvm_amd",
  });
});

test("CPU models of which the host lacks features are named, and another one to use", async () => {
  const found = await look("a host with AMD-V", new OtherBackend(works, ["avx2", "bmi1"]));
  expect(found["CPU models"]).toMatchObject({
    status: "limited",
    found: expect.stringMatching(/^cpr64-v1; for \S+ the host lacks avx2, bmi1$/),
    remedy: "Name one of them: -cpu cpr64-v1.",
  });
});

test("on this machine, /dev/kvm is ready if the backend works, and told with the same words if not", async () => {
  const [availability, found] = await Promise.all([new KvmBackend().probe(), new KvmHostCheck().examine()]);
  expect(found.find(({ subject }) => subject === "/dev/kvm")).toMatchObject(
    availability.available ? { status: "ready" } : { status: "missing", found: availability.reason },
  );
  expect(existsSync("/dev/kvm") || !availability.available).toBe(true);
});
