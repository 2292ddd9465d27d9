import { existsSync, readdirSync } from "node:fs";
import { FakeHost, type FakeHostFiles } from "@cpr/testkit/fakes";
import { hostCheckCompliance } from "@cpr/testkit/host-check";
import { expect, test } from "vitest";
import { DaxHostCheck } from "../src/index.ts";

/** A node, as sysfs of Linux 6.1 has it: below the device that its memory comes from. */
const node = (parent: string, attributes: FakeHostFiles = {}): FakeHostFiles => {
  const folder = `/sys/devices/${parent}/dax0.0`;
  return {
    "/sys/bus/dax/devices/dax0.0": { link: `../../../devices/${parent}/dax0.0` },
    [`${folder}/size`]: "534773760\n",
    [`${folder}/align`]: "2097152\n",
    "/dev/dax0.0": "",
    ...attributes,
  };
};

const nvdimm = "LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0/region0/dax0.1";

const namespace = (mode: string, holder: string): FakeHostFiles => ({
  "/sys/bus/nd/devices/namespace0.0/size": "1073741824\n",
  "/sys/bus/nd/devices/namespace0.0/mode": `${mode}\n`,
  "/sys/bus/nd/devices/namespace0.0/holder": `${holder}\n`,
});

const fsdax = { ...namespace("memory", "pfn0.0"), "/sys/bus/nd/devices/pfn0.0/block/pmem0/size": "2097152\n" };

const hosts = {
  "a device on an NVDIMM": { ...node(nvdimm), ...namespace("dax", "dax0.1") },
  "a device on RAM set aside": node("platform/e820_pmem/ndbus0/region0/dax0.1"),
  "a device on memory of the firmware": node("platform/hmem.0"),
  "a device that the kernel uses": node(nvdimm, {
    [`/sys/devices/${nvdimm}/dax0.0/driver`]: { link: "/sys/bus/dax/drivers/kmem" },
    "/sys/bus/dax/drivers/kmem/bind": "",
  }),
  "a device that is another user's": node(nvdimm, { "/dev/dax0.0": { forbidden: true } }),
  "a namespace that is disabled": namespace("dax", ""),
  "a raw namespace": namespace("raw", ""),
  "a namespace of sectors": namespace("safe", "btt0.0"),
  "a block device": fsdax,
  "a file system": { ...fsdax, "/proc/self/mounts": "/dev/pmem0 /mnt/pmem ext4 rw,relatime 0 0\n" },
  "a file system with DAX": { ...fsdax, "/proc/self/mounts": "/dev/pmem0 /mnt/pmem xfs rw,dax=always 0 0\n" },
  "memory without a namespace": { "/sys/bus/nd/devices/region0/available_size": "4294967296\n" },
  "a kernel without": { "/proc/sys/kernel/osrelease": "6.1.0", "/boot/config-6.1.0": "CONFIG_LIBNVDIMM=m\n" },
} as const satisfies Record<string, FakeHostFiles>;

hostCheckCompliance({ name: "dax", create: (host) => new DaxHostCheck(host), hosts });

const look = async (label: keyof typeof hosts) => (await new DaxHostCheck(new FakeHost(hosts[label])).examine())[0];

test.each([
  ["a device on an NVDIMM", "/dev/dax0.0", "ready", "510 MiB, alignment 2 MiB, persistent memory", undefined],
  [
    "a device on RAM set aside",
    "/dev/dax0.0",
    "limited",
    "510 MiB, alignment 2 MiB, RAM set aside with memmap=",
    /--mem-max/,
  ],
  ["a device on memory of the firmware", "/dev/dax0.0", "limited", /which the firmware sets aside$/, /still there/],
  [
    "a device that the kernel uses",
    "/dev/dax0.0",
    "missing",
    /\(system-ram\)$/,
    /daxctl reconfigure-device --mode=devdax/,
  ],
  ["a device that is another user's", "/dev/dax0.0", "missing", /no permission/, /chown USER \/dev\/dax0\.0/],
  [
    "a namespace that is disabled",
    "namespace0.0",
    "missing",
    "1 GiB in mode devdax, disabled",
    "ndctl enable-namespace namespace0.0",
  ],
  [
    "a raw namespace",
    "namespace0.0",
    "missing",
    /^1 GiB in mode raw/,
    /^ndctl create-namespace -f -e namespace0\.0 -m devdax/,
  ],
  ["a namespace of sectors", "namespace0.0", "missing", /^1 GiB in mode sector/, /destroys what is in it/],
  [
    "a block device",
    "namespace0.0",
    "missing",
    "1 GiB in mode fsdax, not mounted",
    /mount -o dax=always \/dev\/pmem0 FOLDER/,
  ],
  [
    "a file system",
    "namespace0.0",
    "limited",
    /ext4 on \/mnt\/pmem without DAX/,
    /^umount \/mnt\/pmem && mount -o dax=always/,
  ],
  ["a file system with DAX", "namespace0.0", "ready", "1 GiB in mode fsdax, xfs on /mnt/pmem", undefined],
  ["memory without a namespace", "region0", "missing", /^4 GiB/, "ndctl create-namespace -r region0 -m devdax -a 2M"],
  ["a kernel without", "device DAX", "missing", /; the kernel lacks CONFIG_DEV_DAX$/, /^Boot a kernel/],
] as const)("of %s", async (label, subject, status, found, remedy) => {
  const text = (expected: string | RegExp | undefined) =>
    expected instanceof RegExp ? expect.stringMatching(expected) : expected;
  const finding = await look(label);
  expect({ remedy: undefined, ...finding }).toMatchObject({
    subject,
    status,
    found: text(found),
    remedy: text(remedy),
  });
  expect(finding?.enoughFor).toEqual(["restart", "replace-kernel"]);
});

test("a namespace is not told of again where its device is", async () => {
  expect(await new DaxHostCheck(new FakeHost(hosts["a device on an NVDIMM"])).examine()).toHaveLength(1);
});

test("on this machine, a node is found where there is one", async () => {
  const folder = "/sys/bus/dax/devices";
  const names = existsSync(folder) ? readdirSync(folder).map((name) => `/dev/${name}`) : [];
  const subjects = (await new DaxHostCheck().examine()).map(({ subject }) => subject);
  expect(subjects.filter((subject) => subject.startsWith("/dev/")).every((each) => names.includes(each))).toBe(true);
  expect(subjects.includes("device DAX") && names.some((each) => existsSync(each))).toBe(false);
});
