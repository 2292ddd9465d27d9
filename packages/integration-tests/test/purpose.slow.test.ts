import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32, gunzipSync } from "node:zlib";
import { hostFileSystem, type MigrationForecast } from "@cpr/core";
import { describe, expect, it, onTestFinished } from "vitest";
import { CprProcess, cprCommand } from "../../../tools/cpr-process.ts";
import { goldenFolder, goldenKinds, goldenOptions, prepareGolden } from "../../../tools/golden-checkpoints.ts";
import { root } from "../../../tools/workspace.ts";
import { QmpProcess } from "./qmp-process.ts";
import { scratchFolder } from "./scratch.ts";

/** A fresh folder on a disk. */
function diskFolder(): string {
  const parent = [tmpdir(), root].find((path) => hostFileSystem(path).survivesReboot);
  if (parent === undefined) throw new Error("this host has no disk");
  const folder = mkdtempSync(join(parent, "cpr-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function vmWith(folder: string, ...objects: string[]): Promise<QmpProcess> {
  const vm = await QmpProcess.start({
    folder,
    name: "vm",
    options: objects.flatMap((object) => ["-object", `${object},id=ram0,size=32M`]),
  });
  await vm.untilPrinted("B");
  return vm;
}

/** `cpr save` of the VM in a folder. */
function save(folder: string, place: string, ...options: string[]) {
  const words = [cprCommand, "save", join(folder, "vm.qmp"), place, ...options];
  const { status, stdout, stderr } = spawnSync(process.execPath, words, { encoding: "utf8" });
  return { status, stdout, stderr };
}

describe("cpr save --for reboot", () => {
  it("refuses to leave RAM on tmpfs, and a checkpoint there, while the guest runs; --for restart does both", async () => {
    const folder = scratchFolder();
    const disk = diskFolder();
    const ram = join(folder, "ram");
    const vm = await vmWith(folder, `memory-backend-file,mem-path=${ram},share=on`);
    const refused = save(folder, join(disk, "vm.state"), "--for", "reboot");
    expect(refused.status).toBe(7);
    expect(refused.stdout).toContain(
      `RAM 'ram0' (${ram}) is shared and can be found again, so it stays in place; it out`,
    );
    expect(refused.stderr).toMatch(
      /^cpr: RAM 'ram0' \(.*\/ram\) would stay in place, and would be lost.*\n.*--copy-ram/,
    );
    const place = save(folder, join(folder, "vm.state"), "--for", "reboot", "--copy-ram");
    expect(place.status).toBe(7);
    expect(place.stderr).toContain(`A checkpoint at 'file:${join(folder, "vm.state")}' would be lost`);
    expect(vm.eventNames()).not.toContain("STOP");
    await vm.untilPrinted("B");
    expect(existsSync(join(folder, "vm.state"))).toBe(false);
    // What a save was refused with is not what the next one begins with.
    expect(await vm.execute("query-migrate-parameters")).toMatchObject({ "x-checkpoint-for": "restart" });
    expect(save(folder, join(disk, "vm.state"), "--for", "reboot", "--copy-ram", "--dry-run")).toMatchObject({
      status: 0,
    });
    const saved = save(folder, join(folder, "vm.state"), "--for", "restart");
    expect(saved.status, saved.stderr).toBe(0);
    expect(saved.stdout).toMatch(/^Checkpoint: .*, for a restart, on a file system that is gone after a reboot/);
  });

  it("leaves RAM in a file on a disk, for a checkpoint on a disk", async () => {
    const disk = diskFolder();
    await vmWith(disk, `memory-backend-file,mem-path=${join(disk, "ram")},share=on`);
    const saved = save(disk, join(disk, "vm.state"), "--for", "reboot", "--json");
    expect(saved.status, saved.stderr).toBe(0);
    const { plan, result } = JSON.parse(saved.stdout) as { plan: MigrationForecast; result: unknown };
    expect(plan).toMatchObject({
      purpose: "reboot",
      survivesReboot: true,
      ram: [{ inPlace: true, survivesReboot: true }],
    });
    expect(result).toMatchObject({ status: "completed", ram: { "x-in-place": 32 << 20 } });
    const words = [cprCommand, "inspect", join(disk, "vm.state"), "--json"];
    const { stdout } = spawnSync(process.execPath, words, { encoding: "utf8" });
    expect(JSON.parse(stdout)).toMatchObject({ purpose: "reboot", writer: { program: "cpr" } });
  });

  it.each([
    ["anonymous RAM", undefined],
    ["a memfd", "memory-backend-memfd,share=on"],
    ["a file without a name", "memory-backend-shm"],
  ])("copies %s, which survives nothing", async (_what, object) => {
    const folder = scratchFolder();
    await vmWith(folder, ...(object === undefined ? [] : [object]));
    const planned = save(folder, join(diskFolder(), "vm.state"), "--for", "reboot", "--dry-run", "--json");
    expect(planned.status, planned.stderr).toBe(0);
    const { plan } = JSON.parse(planned.stdout) as { plan: MigrationForecast };
    expect(plan).toMatchObject({ purpose: "reboot", refusals: [], ram: [{ inPlace: false, survivesReboot: false }] });
  });
});

/** Where huge pages are to be had, if there are any. */
const hugeFolder = /^\S+ (\S+) hugetlbfs /m.exec(readFileSync("/proc/mounts", "latin1"))?.[1];
const hugePages = Number(/^HugePages_Free:\s+(\d+)/m.exec(readFileSync("/proc/meminfo", "latin1"))?.[1]);

it.runIf(hugeFolder !== undefined && hugePages >= 16)(
  "RAM on hugetlbfs outlives a process, and no reboot",
  async () => {
    const folder = scratchFolder();
    const ram = join(String(hugeFolder), "cpr-test-ram");
    onTestFinished(() => rmSync(ram, { force: true }));
    await vmWith(folder, `memory-backend-file,mem-path=${ram},share=on`);
    const place = join(diskFolder(), "vm.state");
    expect(save(folder, place, "--for", "reboot").stderr).toContain(`RAM 'ram0' (${ram}) would stay in place`);
    expect(save(folder, place, "--for", "restart", "--quit")).toMatchObject({ status: 0, stderr: "" });
    const target = await QmpProcess.start({
      folder,
      name: "target",
      options: ["-object", `memory-backend-file,mem-path=${ram},share=on,id=ram0,size=32M`, "-incoming", "defer"],
    });
    const loaded = spawnSync(process.execPath, [cprCommand, "load", join(folder, "target.qmp"), place], {
      encoding: "utf8",
    });
    expect(loaded).toMatchObject({ status: 0, stderr: "" });
    await target.untilPrinted("B");
  },
);

/** A checkpoint as if it had been written before the host was rebooted. */
function ofEarlierBoot(stream: Buffer): Buffer {
  const earlier = stream.toString("latin1").replace(/"bootId":"[0-9a-f]{8}/, '"bootId":"0badb007');
  const trailer = earlier.lastIndexOf("\n#cpr ");
  const checksum = crc32(Buffer.from(earlier.slice(0, trailer), "latin1"))
    .toString(16)
    .padStart(8, "0");
  const end = earlier.slice(trailer).replace(/crc32=\w{8}/, `crc32=${checksum}`);
  return Buffer.from(`${earlier.slice(0, trailer)}${end}`, "latin1");
}

it("a load after a reboot explains that RAM is gone, and says what to do", async () => {
  const kind = goldenKinds.find(({ name }) => name === "in-place");
  if (kind === undefined) throw new Error("there is no such checkpoint");
  const folder = scratchFolder();
  const state = join(folder, "state");
  writeFileSync(state, ofEarlierBoot(gunzipSync(readFileSync(join(goldenFolder, "format-3-in-place.state.gz")))));
  const vm = new CprProcess([...goldenOptions(kind, folder), "-incoming", "defer"]);
  onTestFinished(() => vm.kill("SIGKILL"));
  await vm.ready();
  await prepareGolden(vm, kind);
  const answer = await vm.command(`migrate_incoming file:${state}`);
  expect(answer).toContain(
    `Error: The checkpoint left memory object 'ram0' in place, but '${join(folder, "ram")}' was not there`,
  );
  expect(answer).toContain(
    "The host was rebooted since the checkpoint was written (for a restart), and RAM there does not",
  );
  expect(answer).toContain("--for reboot");
  expect(await vm.command("info migrate")).toMatch(/^note: The host was rebooted since/m);
  // The next attempt, when the file system is mounted, finds what was there before this one.
  expect(existsSync(join(folder, "ram"))).toBe(true);
  await vm.quit();
  expect(existsSync(join(folder, "ram"))).toBe(false);
});
