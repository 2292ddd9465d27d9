import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { isCprError, type MemoryObjectOptions, type MemoryProvider, stateFolder } from "@cpr/core";
import { DaxMemoryProvider } from "@cpr/memory-dax";
import { FileMemoryProvider } from "@cpr/memory-shm";
import { cacheFlushInstruction, reserveMemory, touchedRangesOf } from "@cpr/native-mman";
import { type MemoryPlace, type MemoryProviderFixture, memoryProviderCases } from "@cpr/testkit/memory-provider";
import { GuestProgramRun } from "../../guest-program-run.ts";
import { makeDeviceDax, makeFileSystemDax } from "../persistent-memory.ts";
import { processorDeviations } from "../processor-deviations.ts";
import { type Scenario, secondsSince } from "../scenario.ts";

const mebibyte = 2 ** 20;
/** NVDIMMs: two small ones are device DAX for the compliance suite, one has a file system, one is a guest's RAM. */
const sizes = { suite: 16, files: 64, guest: 272 } as const;
/** What is left of each when the kernel's own records are not in it. */
const usable = (size: number): number => (size - 2) * mebibyte;

/** How long the guest may take to begin, in seconds. */
const patience = 120;

export const scenario: Scenario = {
  description:
    "RAM on device DAX and on a file system with DAX: what is refused, what is kept, and a guest that goes on",
  seconds: 1200,
  accelerators: ["kvm", "interp"],
  host: { nvdimms: [sizes.suite, sizes.suite, sizes.files, sizes.guest].map((size) => `${size}M`) },
  async run({ report, accelerators }) {
    const started = performance.now();
    const told = (line: string): void => report(`${secondsSince(started)}: ${line}`);
    const small = await Promise.all(nvdimmsOf(sizes.suite).map((nvdimm) => makeDeviceDax(nvdimm)));
    const [guestNvdimm = -1] = nvdimmsOf(sizes.guest);
    const device = await makeDeviceDax(guestNvdimm);

    const cases = await passCompliance(deviceFixture(small));
    told(`${small.join(" and ")} pass the ${cases} cases of the compliance suite`);
    await checkRefusals(small[0] as string);
    await checkSystemMemory(device);
    told("what does not fit the device is refused, and so is a device that others have, or that cannot be mapped");

    const [filesNvdimm = -1] = nvdimmsOf(sizes.files);
    const disk = await makeFileSystemDax(filesNvdimm);
    await checkFileSystem(disk);
    told(`files on ${disk} are mapped synchronously with pmem=on, and flushed with ${cacheFlushInstruction()}`);

    await checkHugePages();
    told("a file on hugetlbfs is known not to outlive a reboot");

    const way = accelerators.flatMap((accelerator) => [accelerator, accelerator]);
    await carry(way, device);
    told(`a guest whose RAM is ${device} goes on in new processes, from one to the next: ${way.join(", ")}`);
  },
};

/** The numbers of the NVDIMMs of a size. The kernel numbers them as it likes. */
function nvdimmsOf(size: number): number[] {
  return readdirSync("/sys/bus/nd/devices")
    .filter((name) => /^region\d+$/.test(name))
    .filter((name) => Number(readFileSync(`/sys/bus/nd/devices/${name}/size`, "latin1")) === size * mebibyte)
    .map((name) => Number(name.slice("region".length)));
}

async function passCompliance(fixture: MemoryProviderFixture): Promise<number> {
  const cases = await memoryProviderCases(fixture);
  for (const { name, run } of cases) {
    await run().catch((cause: unknown) => {
      throw new Error(`${fixture.name} ${name}: ${cause}`, { cause });
    });
  }
  return cases.length;
}

/** Each place is a device that no other one has, and is zero. */
function deviceFixture(devices: readonly string[]): MemoryProviderFixture {
  const free = [...devices];
  const size = usable(sizes.suite);
  const zeros = reserveMemory(size, 2 * mebibyte);
  return {
    name: "dax",
    size,
    create: () => new DaxMemoryProvider(),
    async place(): Promise<MemoryPlace> {
      const path = free.pop() as string;
      const options = { type: "memory-backend-file", id: "ram0", "mem-path": path, share: true };
      const backing = await new DaxMemoryProvider().open({ ...options, size });
      backing.mapInto(zeros);
      zeros.fill(0);
      await backing.close();
      return { options, close: async () => void free.push(path) };
    },
  };
}

/** Fails unless an object is refused with that code and words. */
async function refused(
  provider: MemoryProvider,
  options: Omit<MemoryObjectOptions, "type" | "id">,
  code: string,
  words: RegExp,
): Promise<void> {
  const error = await provider.open({ type: "memory-backend-file", id: "ram0", ...options }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(isCprError(error), `${JSON.stringify(options)}: ${String(error)}`);
  assert.equal(error.code, code, error.message);
  assert.match(`${error.message} ${error.hint}`, words);
}

async function checkRefusals(path: string): Promise<void> {
  const provider = new DaxMemoryProvider();
  const size = usable(sizes.suite);
  const common = { "mem-path": path, share: true, size };
  await refused(
    provider,
    { ...common, size: size + 2 * mebibyte },
    "ERR_CPR_MEMORY_FILE_SIZE",
    /size 0xe00000 does not match/,
  );
  await refused(provider, { ...common, size: 3 * mebibyte }, "ERR_CPR_MEMORY_PAGE_SIZE", /0x200000.*`size=2097152`/);
  await refused(provider, { ...common, align: 4096 }, "ERR_CPR_MEMORY_ALIGN", /backing store align 0x200000 is larger/);
  await refused(provider, { ...common, share: false }, "ERR_CPR_MEMORY_PROPERTY", /copy-on-write/);
  chmodSync(path, 0o600);
  process.seteuid?.(65_534);
  try {
    await refused(provider, common, "ERR_CPR_MEMORY_OPEN", /Permission denied.*chown USER/);
  } finally {
    process.seteuid?.(0);
  }
  const driver = "/sys/bus/dax/drivers/device_dax";
  writeFileSync(join(driver, "unbind"), basename(path));
  await refused(provider, common, "ERR_CPR_MEMORY_OPEN", /It is disabled.*daxctl enable-device/);
  writeFileSync(join(driver, "bind"), basename(path));
  const first = await provider.open({ type: "memory-backend-file", id: "ram0", ...common });
  const pid = new RegExp(`in process ${process.pid}`);
  await refused(provider, { ...common, size: 2 * mebibyte }, "ERR_CPR_MEMORY_BUSY", pid);
  const ram = reserveMemory(size);
  first.mapInto(ram);
  ram[5 * mebibyte] = 1;
  // What is flushed. NOTE: a page of such a device is as large as its alignment.
  assert.deepEqual(touchedRangesOf(ram), [[4 * mebibyte, 6 * mebibyte]]);
  await first.close();
}

/** Gives a device to the kernel as its own memory, and takes it back. */
async function checkSystemMemory(path: string): Promise<void> {
  const reconfigure = (...options: string[]): void => {
    execFileSync("daxctl", ["reconfigure-device", ...options, "--force", basename(path)], { stdio: "ignore" });
  };
  reconfigure("--mode=system-ram", "--no-online");
  const options = { "mem-path": path, share: true, size: 256 * mebibyte };
  await refused(new DaxMemoryProvider(), options, "ERR_CPR_MEMORY_OPEN", /system-ram.*--mode=devdax --force dax/);
  reconfigure("--mode=devdax");
}

async function checkFileSystem(disk: string): Promise<void> {
  const folder = "/mnt/dax";
  mkdirSync(folder, { recursive: true });
  execFileSync("mkfs.ext4", ["-q", "-b", "4096", "-N", "64", disk]);
  execFileSync("mount", ["-t", "ext4", "-o", "dax=always", disk, folder]);
  let files = 0;
  await passCompliance({
    name: "a file system with DAX",
    create: () => new FileMemoryProvider(),
    place: async () => ({
      options: {
        type: "memory-backend-file",
        id: "ram0",
        "mem-path": join(folder, `ram${files++}`),
        share: true,
        pmem: true,
      },
      close: async () => undefined,
    }),
  });

  const size = 4 * mebibyte;
  const provider = new FileMemoryProvider();
  const path = join(folder, "guest");
  const backing = await provider.open({
    type: "memory-backend-file",
    id: "ram0",
    size,
    "mem-path": path,
    share: true,
    pmem: true,
  });
  assert.deepEqual(backing.supports, { shared: true, survivesProcessExit: true, survivesReboot: true });
  const ram = reserveMemory(size);
  backing.mapInto(ram);
  ram.fill(0x5a);
  await backing.flush();
  assert.match(mappingOf(path), /^VmFlags:.* sf( |$)/m, "the mapping is not MAP_SYNC");
  await backing.close();

  const common = { size, share: true };
  await refused(
    provider,
    { ...common, "mem-path": "/dev/shm/ram0", pmem: true },
    "ERR_CPR_MEMORY_PMEM",
    /has no DAX.*dax=always/,
  );
  await refused(
    provider,
    { ...common, "mem-path": disk },
    "ERR_CPR_MEMORY_KIND",
    /a block device.*ndctl create-namespace/,
  );
}

async function checkHugePages(): Promise<void> {
  const folder = "/mnt/huge";
  mkdirSync(folder, { recursive: true });
  execFileSync("mount", ["-t", "hugetlbfs", "hugetlbfs", folder]);
  const common = { size: 4 * mebibyte, share: true, "mem-path": join(folder, "ram0") };
  const backing = await new FileMemoryProvider().open({ type: "memory-backend-file", id: "ram0", ...common });
  assert.deepEqual(backing.supports, { shared: true, survivesProcessExit: true, survivesReboot: false });
  assert.equal(backing.alignment?.multiple, 2 * mebibyte);
  await backing.close();
  await refused(new FileMemoryProvider(), { ...common, pmem: true }, "ERR_CPR_MEMORY_PMEM", /has no DAX/);
}

/** What the kernel tells of this process's mapping of a file. */
function mappingOf(path: string): string {
  const mappings = readFileSync("/proc/self/smaps", "latin1").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  return mappings.find((each) => each.split("\n")[0]?.endsWith(path) === true) ?? "";
}

/** Saves a guest program whose RAM is a device, and goes on with it in a process on each backend; it must find its state as it was. */
async function carry(accelerators: readonly string[], device: string): Promise<void> {
  mkdirSync(stateFolder(), { recursive: true });
  using run = new GuestProgramRun("state", {}, device);
  const uuid = readFileSync(`/sys/bus/dax/devices/${basename(device)}/../uuid`, "latin1").trim();
  const [first = "kvm", ...others] = accelerators;
  let process = run.start("-accel", first);
  await process.ready();
  await run.ready(patience);
  for (const accelerator of others) {
    assert.deepEqual(readdirSync(stateFolder()), [], "marks of a guest that runs");
    await run.save(process);
    assert.deepEqual(readdirSync(stateFolder()), [`nvdimm-${uuid}.cpr`], "marks of a guest that was saved");
    process = run.start("-accel", accelerator, "-incoming", "defer");
    await run.load(process);
  }
  run.ring();
  await run.expectObservations(process, processorDeviations.state);
}
