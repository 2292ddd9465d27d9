import { copyFile, mkdtemp, rename, rm, stat, truncate, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { observeFiles } from "../src/migration/host-files.ts";
import { fakeVirtualMachine } from "./fakes/fake-machine.ts";
import { streams } from "./fakes/fake-plugin.ts";

let folder = "";
let disk = "";

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cpr-core-"));
  disk = join(folder, "disk.img");
  await writeFile(disk, "contents of a disk");
});

afterEach(async () => {
  streams.clear();
  await rm(folder, { recursive: true });
});

async function save(files = disk, thread = false): Promise<void> {
  const { machine } = await fakeVirtualMachine({ commandLine: `files=${files}`, thread });
  await machine.migrate("store:a");
  expect(await machine.migrationDone()).toMatchObject({ status: "completed" });
  await machine.quit();
}

/** Loads into a VM with these files, and tells how it went. */
async function load(files = disk, accepted = "", thread = false): Promise<unknown> {
  const { machine } = await fakeVirtualMachine({ commandLine: `files=${files}`, incoming: "defer", thread });
  machine.settings.setParameter("x-accept-changed-files", accepted);
  const outcome = await machine.migrateIncoming("store:a").catch((error: unknown) => error);
  expect(machine.runState).toBe(outcome === undefined ? "running" : "inmigrate");
  await machine.quit();
  return outcome;
}

describe("a file of the host that a device depends on", () => {
  it("is not compared if it is a device, whose node tells nothing", async () => {
    expect(await observeFiles([{ id: "disk0", path: "/dev/null" }])).toEqual([
      { id: "disk0", path: "/dev/null", size: 0, modified: "0", inode: "0" },
    ]);
  });

  it.each([false, true])("is in the checkpoint as it was when the VM had stopped (thread: %s)", async (thread) => {
    const { machine } = await fakeVirtualMachine({ commandLine: `files=${disk}`, thread });
    machine.settings.setCapability("pause-before-switchover", true);
    await machine.migrate("store:a");
    while (machine.queryMigrate().status !== "pre-switchover") {
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await writeFile(disk, "what was written last");
    await machine.migrateContinue("pre-switchover");
    expect(await machine.migrationDone()).toMatchObject({ status: "completed" });
    await machine.quit();
    const { size, mtimeNs, ino } = await stat(disk, { bigint: true });
    const facts = { id: "disk0", path: disk, size: Number(size), modified: `${mtimeNs}`, inode: `${ino}` };
    expect(Buffer.from(streams.get("a") ?? []).toString("latin1")).toContain(`"files":[${JSON.stringify(facts)}]`);
    expect(await load(disk, "", thread)).toBeUndefined();
  });

  it.each([
    [
      "longer",
      () => truncate(disk, 100),
      /its size was 18 bytes and is 100; it was modified at 2.*Z and then at 2.*Z$/,
    ],
    ["touched", () => utimes(disk, 1, 1), /it was modified at 2.*Z and then at 1970-01-01T00:00:01.000Z$/],
    [
      "replaced by a copy",
      async () => {
        const { atime, mtime } = await stat(disk);
        await copyFile(disk, `${disk}.copy`);
        await utimes(`${disk}.copy`, atime, mtime);
        await rename(`${disk}.copy`, disk);
      },
      /it is another file: its inode was \d+ and is \d+$/,
    ],
  ])("is refused when it was %s, unless the user accepts that", async (_what, change, message) => {
    const other = join(folder, "other.img");
    await writeFile(other, "");
    await save(`${disk},${other}`);
    await change();
    const refusal = {
      code: "ERR_CPR_HOST_FILE_CHANGED",
      message: expect.stringMatching(message),
      hint: expect.stringContaining("x-accept-changed-files disk0"),
      details: { id: "disk0", path: disk },
    };
    expect(await load(`${disk},${other}`)).toMatchObject(refusal);
    expect(await load(`${disk},${other}`, "disk1,disk")).toMatchObject(refusal);
    expect(await load(`${disk},${other}`, "disk1,disk0")).toBeUndefined();
  });

  it("may have another name, but must be there on both sides", async () => {
    await save();
    const moved = join(folder, "moved.img");
    await rename(disk, moved);
    expect(await load(moved)).toBeUndefined();
    expect(await load("")).toMatchObject({
      code: "ERR_CPR_HOST_FILE_CHANGED",
      message: expect.stringContaining("no device uses it any more"),
    });
    expect(await load(disk)).toMatchObject({ code: "ERR_CPR_HOST_FILE" });
    expect(await load("", "disk0")).toBeUndefined();
    await save("");
    expect(Buffer.from(streams.get("a") ?? []).includes('"files"')).toBe(false);
    expect(await load(moved)).toMatchObject({
      code: "ERR_CPR_HOST_FILE_CHANGED",
      message: expect.stringContaining("the checkpoint does not know it"),
    });
  });

  it("that is gone lets the VM run on instead of being saved", async () => {
    const { machine } = await fakeVirtualMachine({ commandLine: `files=${join(folder, "nothing")}` });
    await machine.migrate("store:a");
    expect(await machine.migrationDone()).toMatchObject({
      status: "failed",
      errorDescription: expect.stringContaining(`Could not look at '${join(folder, "nothing")}' (disk0): ENOENT`),
    });
    expect(machine.runState).toBe("running");
    await machine.quit();
  });

  it("has an id of its own", async () => {
    await expect(fakeVirtualMachine({ commandLine: `files=${disk} sameFile=yes` })).rejects.toThrow(
      "'disk0' is not a possible id of a host file, or there are two of it",
    );
  });
});
