import { readdirSync, readFileSync, statfsSync } from "node:fs";
import { FakeHost, type FakeHostFiles } from "@cpr/testkit/fakes";
import { hostCheckCompliance } from "@cpr/testkit/host-check";
import { expect, test } from "vitest";
import { HugePagesHostCheck, SharedMemoryHostCheck } from "../src/index.ts";

const tmpfs = (free: number) => ({ space: { kind: "tmpfs", survivesReboot: false, total: 2 ** 34, free } }) as const;

const hosts = {
  "a host with room": { "/dev/shm": tmpfs(2 ** 33) },
  "a host with little room": { "/dev/shm": tmpfs(2 ** 26) },
  "a host that keeps it from this user": { "/": tmpfs(2 ** 33), "/dev/shm": { forbidden: true } },
} as const satisfies Record<string, FakeHostFiles>;

hostCheckCompliance({ name: "shared-memory", create: (host) => new SharedMemoryHostCheck(host), hosts });

const pool = (name: string, total: number, free: number): FakeHostFiles => ({
  [`/sys/kernel/mm/hugepages/hugepages-${name}/nr_hugepages`]: `${total}\n`,
  [`/sys/kernel/mm/hugepages/hugepages-${name}/free_hugepages`]: `${free}\n`,
});

const hugeHosts = {
  "a host with huge pages": {
    ...pool("2048kB", 512, 256),
    ...pool("1048576kB", 4, 0),
    "/proc/self/mounts": "hugetlbfs /dev/hugepages hugetlbfs rw,pagesize=2M 0 0\n",
  },
  "a host that has set none aside": { ...pool("2048kB", 0, 0), ...pool("1048576kB", 0, 0) },
} as const satisfies Record<string, FakeHostFiles>;

hostCheckCompliance({ name: "huge-pages", create: (host) => new HugePagesHostCheck(host), hosts: hugeHosts });

const shared = async (files: FakeHostFiles) =>
  (await new SharedMemoryHostCheck(new FakeHost(files)).examine()).find(({ subject }) => subject === "/dev/shm");

test("/dev/shm is ready with room, limited with little, and missing if nobody can write there", async () => {
  expect(await shared(hosts["a host with room"])).toEqual({
    subject: "/dev/shm",
    status: "ready",
    found: "tmpfs, 8 GiB of 16 GiB free",
    enoughFor: ["restart"],
  });
  expect(await shared(hosts["a host with little room"])).toMatchObject({
    status: "limited",
    found: "tmpfs, 64 MiB of 16 GiB free",
    remedy: expect.stringMatching(/remount,size=SIZE .*--shm-size/),
  });
  expect(await shared(hosts["a host that keeps it from this user"])).toMatchObject({
    status: "missing",
    remedy: "chmod 1777 /dev/shm",
  });
  expect(await shared({})).toMatchObject({ status: "missing", remedy: expect.stringContaining("mount -t tmpfs") });
});

const huge = async (files: FakeHostFiles) =>
  (await new HugePagesHostCheck(new FakeHost(files)).examine()).map(({ subject, status, found }) => [
    subject,
    status,
    found,
  ]);

test("huge pages are told by size: free, in use, or none", async () => {
  expect(await huge(hugeHosts["a host with huge pages"])).toEqual([
    ["pages of 1 GiB", "limited", "all 4 in use"],
    ["pages of 2 MiB", "ready", "256 of 512 free (512 MiB)"],
    ["hugetlbfs", "ready", "on /dev/hugepages"],
  ]);
  expect(await huge(hugeHosts["a host that has set none aside"])).toEqual([
    ["pages of 1 GiB", "missing", "none set aside"],
    ["pages of 2 MiB", "missing", "none set aside"],
    ["hugetlbfs", "missing", "not mounted"],
  ]);
  expect(await huge({})).toEqual([["kernel", "missing", "no huge pages of hugetlb"]]);
});

test("on this machine, they say what the system says", async () => {
  const folder = (await new SharedMemoryHostCheck().examine()).find(({ subject }) => subject === "/dev/shm");
  const { bsize, bavail } = statfsSync("/dev/shm");
  expect(folder?.status).toBe(bsize * bavail >= 2 ** 30 ? "ready" : "limited");
  const pages = (await new HugePagesHostCheck().examine()).filter(({ subject }) => subject.startsWith("pages of"));
  const pools = "/sys/kernel/mm/hugepages";
  const free = readdirSync(pools).map((name) => Number(readFileSync(`${pools}/${name}/free_hugepages`, "utf8")));
  expect(pages.filter(({ status }) => status === "ready")).toHaveLength(free.filter((count) => count > 0).length);
});
