import { release } from "node:os";
import { Backend, definePlugin, Kernel, type LinuxHost, type PluginRecord } from "@cpr/core";
import { FakeHost, type FakeHostFile, type FakeHostFiles } from "@cpr/testkit/fakes";
import { hostCheckCompliance } from "@cpr/testkit/host-check";
import { describe, expect, it } from "vitest";
import { PluginsHostCheck } from "../src/plugins-host-check.ts";
import { ProgramHostCheck } from "../src/program-host-check.ts";
import { ServiceHostCheck } from "../src/service-host-check.ts";
import { StorageHostCheck } from "../src/storage-host-check.ts";

const limits = (space: string, files: string): string =>
  `Limit                     Soft Limit           Hard Limit           Units     \nMax open files            ${files.padEnd(20)} 4096                 files     \nMax address space         ${space.padEnd(20)} unlimited            bytes     \n`;

const programHosts = {
  "a host of today": {
    "/proc/sys/kernel/osrelease": "6.1.0-13-amd64\n",
    "/boot/config-6.1.0-13-amd64": "CONFIG_MMU=y\n",
    "/proc/self/limits": limits("unlimited", "1024"),
  },
  "an old host with limits": {
    "/proc/sys/kernel/osrelease": "5.10.0\n",
    "/boot/config-5.10.0": { forbidden: true },
    "/proc/self/limits": limits("4294967296", "256"),
  },
} as const satisfies Record<string, FakeHostFiles>;

describe("the check of the program", () => {
  hostCheckCompliance({ name: "program", create: (host) => new ProgramHostCheck("1.2.3", host), hosts: programHosts });

  const look = async (files: FakeHostFiles) => new ProgramHostCheck("1.2.3", new FakeHost(files)).examine();

  it("tells versions", async () => {
    expect((await new ProgramHostCheck("1.2.3").examine()).map(({ subject, found }) => [subject, found])).toEqual(
      expect.arrayContaining([
        ["cpr", "1.2.3"],
        ["Node", expect.stringMatching(/^\d+\.\d+\.\d+, glibc 2\.\d+$/)],
        ["kernel", release()],
      ]),
    );
  });

  it("finds nothing wrong with a host of today", async () => {
    const found = await look(programHosts["a host of today"]);
    expect(found.filter(({ status }) => status !== "ready")).toEqual([]);
  });

  it("finds an old kernel, a configuration that cannot be read, and limits", async () => {
    expect((await look(programHosts["an old host with limits"])).slice(2)).toMatchObject([
      { subject: "kernel", status: "limited", found: "5.10.0", remedy: expect.stringContaining("Linux 5.14") },
      { subject: "kernel options", status: "limited", remedy: expect.stringContaining("/boot/config-") },
      {
        subject: "limits",
        status: "limited",
        found: "address space is limited (ulimit -v); only 256 open files (ulimit -n)",
        remedy: expect.stringMatching(/ulimit -v unlimited; ulimit -n 1024/),
      },
    ]);
  });
});

const disk = (free: number): FakeHostFile => ({ space: { kind: "other", survivesReboot: true, total: 2 ** 40, free } });

const storageHosts = {
  "a host with a disk": { "/": disk(2 ** 36), "/var/lib/dpkg/status": "" },
  "a host whose disk is full": { "/": disk(2 ** 26), "/var/lib/cpr/vms/a/vm.json": "" },
  "a host that runs in RAM": {
    "/": { space: { kind: "tmpfs", survivesReboot: false, total: 2 ** 30, free: 2 ** 30 } },
  },
  "a host of another user": { "/": disk(2 ** 36), "/var/lib/cpr": { forbidden: true } },
} as const satisfies Record<string, FakeHostFiles>;

describe("the check of storage", () => {
  const create = (host: LinuxHost) => new StorageHostCheck(host, "/var/lib/cpr");
  hostCheckCompliance({ name: "storage", create, hosts: storageHosts });

  it.each([
    ["a host with a disk", "ready", "/var/lib/cpr: 64 GiB of 1 TiB free; it is made when it is needed"],
    ["a host whose disk is full", "limited", "/var/lib/cpr: 64 MiB of 1 TiB free"],
    ["a host that runs in RAM", "missing", "/var/lib/cpr: on tmpfs, which a reboot empties"],
    ["a host of another user", "missing", "/var/lib/cpr: this user may not write to /var/lib/cpr"],
  ] as const)("of %s", async (label, status, found) => {
    const [finding] = await create(new FakeHost(storageHosts[label])).examine();
    expect(finding).toMatchObject({ status, found, enoughFor: ["reboot"] });
    expect(finding?.remedy).toEqual(status === "ready" ? undefined : expect.stringContaining("CPR_STATE_DIRECTORY"));
  });
});

const unit = "/usr/lib/systemd/system/cpr-host.service";

const serviceHosts = {
  "a host without the unit": { "/run/lock/x": "" },
  "a host with the unit": { [unit]: "[Unit]\n", "/run": { forbidden: true } },
  "a host that uses the unit": {
    "/etc/systemd/system/cpr-host.service": "[Unit]\n",
    "/etc/systemd/system/multi-user.target.wants/cpr-host.service": { link: "../cpr-host.service" },
  },
} as const satisfies Record<string, FakeHostFiles>;

describe("the check of the service", () => {
  const create = (host: LinuxHost) => new ServiceHostCheck(host, "/run/cpr");
  hostCheckCompliance({ name: "service", create, hosts: serviceHosts });

  it.each([
    [
      "a host without the unit",
      "missing",
      "not installed",
      "cpr host install-unit && systemctl enable --now cpr-host.service",
    ],
    [
      "a host with the unit",
      "limited",
      "in /usr/lib/systemd/system, not enabled",
      "systemctl enable --now cpr-host.service",
    ],
    ["a host that uses the unit", "ready", "in /etc/systemd/system, enabled", undefined],
  ] as const)("of %s", async (label, status, found, remedy) => {
    const [, finding] = await create(new FakeHost(serviceHosts[label])).examine();
    expect({ remedy: undefined, ...finding }).toEqual({ subject: "cpr-host.service", status, found, remedy });
  });

  it("finds a folder for sockets that cannot be made", async () => {
    const runtime = async (label: keyof typeof serviceHosts) =>
      (await create(new FakeHost(serviceHosts[label])).examine())[0];
    expect(await runtime("a host without the unit")).toMatchObject({ status: "ready", found: "/run/cpr" });
    expect(await runtime("a host with the unit")).toMatchObject({
      status: "missing",
      found: "/run/cpr: this user may not write to /run",
      remedy: expect.stringContaining("CPR_RUNTIME_DIRECTORY"),
    });
  });
});

describe("the check of plugins", () => {
  const record = (name: string): PluginRecord => ({
    name,
    version: "1.0.0",
    description: "",
    path: `/${name}/package.json`,
    module: `file:///${name}.js`,
    manifest: { api: 1, plugin: "./plugin", provides: { backend: [name] } },
  });
  const kernelOf = (availability: object, ...broken: string[]) => {
    const importPlugin = async ({ name }: PluginRecord) => {
      if (broken.includes(name)) throw new Error("a syntax error");
      const backend = class {
        readonly name = name;
        probe = async () => availability;
      };
      return {
        default: definePlugin({ name, setup: (context) => context.contribute(Backend, backend as never) }),
      };
    };
    return new Kernel(["a", "b"].map(record), { importPlugin });
  };
  const works = { available: true, note: "it works" };

  it("loads all of them, and names those that cannot be", async () => {
    expect(await new PluginsHostCheck(kernelOf(works)).examine()).toEqual([
      { subject: "plugins", status: "ready", found: "2 can be loaded" },
      { subject: "execution backends", status: "ready", found: "a, b", enoughFor: ["run"] },
    ]);
    expect(await new PluginsHostCheck(kernelOf(works, "a")).examine()).toMatchObject([
      {
        subject: "a",
        status: "missing",
        found: "Plugin 'a' could not be loaded: a syntax error",
        neededFor: ["run", "restart"],
      },
      { subject: "plugins", found: "1 can be loaded" },
      { subject: "execution backends", found: "b" },
    ]);
  });

  it("says that no backend works, and what is wrong with manifests", async () => {
    const [, backends] = await new PluginsHostCheck(kernelOf({ available: false, reason: "no" })).examine();
    expect(backends).toMatchObject({ status: "missing", enoughFor: ["run"], remedy: expect.any(String) });
    expect(await new PluginsHostCheck(new Kernel([]), new Error("two are the same")).examine()).toMatchObject([
      { subject: "plugins", status: "missing", found: "two are the same", neededFor: ["run", "restart"] },
    ]);
  });
});
