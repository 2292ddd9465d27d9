import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type FakeOptions, fakeVirtualMachine, type, until } from "./fakes/fake-machine.ts";
import { disks, type FakeDisk, streams, transportFaults } from "./fakes/fake-plugin.ts";

let disk: FakeDisk;

beforeEach(() => {
  disk = { lockedBy: undefined, log: [] };
  disks.set("/disk", disk);
});

afterEach(() => {
  disks.clear();
  streams.clear();
  delete transportFaults.failCommit;
});

const withDisk = (options: FakeOptions = {}) =>
  fakeVirtualMachine({ disks: ["/disk"], commandLine: "disk=disk0", ...options });

const refusal = (options: FakeOptions) =>
  withDisk(options).then(
    () => expect.unreachable("it was made"),
    (error: unknown) => error,
  );

const otherProcess = {};
const busy = { code: "ERR_CPR_BLOCK_LOCKED", message: 'Failed to get "write" lock', category: "busy" };

describe("a disk", () => {
  it("is locked as long as the VM may go on with it, flushed when it stops, and closed at the end", async () => {
    const { machine } = await withDisk();
    const held = disk.lockedBy;
    expect(held).toBeDefined();
    await machine.stop();
    expect(disk.log).toEqual(["flush"]);
    expect(disk.lockedBy).toBe(held);
    await machine.cont();
    await machine.quit();
    expect(disk.log).toEqual(["flush", "close"]);
    expect(disk.lockedBy).toBeUndefined();
  });

  it("is given up with the checkpoint, and taken again by cont unless another one has it", async () => {
    const { machine } = await withDisk();
    await machine.migrate("store:a");
    expect(await machine.migrationDone()).toMatchObject({ status: "completed" });
    expect(disk.lockedBy).toBeUndefined();
    disk.lockedBy = otherProcess;
    await expect(machine.cont()).rejects.toMatchObject(busy);
    expect(machine.runState).toBe("paused");
    disk.lockedBy = undefined;
    await machine.cont();
    expect(machine.runState).toBe("running");
    expect(disk.lockedBy).toBeDefined();
    await machine.quit();
  });

  it("that another VM has changed keeps a VM that was saved from going on", async () => {
    const folder = await mkdtemp(join(tmpdir(), "cpr-core-"));
    const path = join(folder, "disk.raw");
    await writeFile(path, "contents");
    disks.set(path, disk);
    const { machine } = await withDisk({ disks: [path] });
    await machine.migrate("store:a");
    await machine.migrationDone();
    await machine.cont();
    await machine.migrate("store:a");
    await machine.migrationDone();
    await writeFile(path, "others' contents");
    await expect(machine.cont()).rejects.toMatchObject({
      code: "ERR_CPR_BLOCK_MOVED_ON",
      details: { id: "disk0", path },
    });
    expect(machine.runState).toBe("paused");
    expect(disk.lockedBy).toBeUndefined();
    await machine.quit();
    await rm(folder, { recursive: true });
  });

  it.each([false, true])("stays the VM's if it cannot be saved (stopped before: %s)", async (stopped) => {
    const { machine } = await withDisk();
    if (stopped) await machine.stop();
    const held = disk.lockedBy;
    transportFaults.failCommit = true;
    await machine.migrate("store:a");
    expect(await machine.migrationDone()).toMatchObject({ status: "failed" });
    expect(disk.lockedBy).toBe(held);
    await machine.quit();
  });

  it("is opened beside the VM that has it, and locked when the checkpoint is loaded", async () => {
    const first = await withDisk();
    const second = await withDisk({ incoming: "defer" });
    const held = disk.lockedBy;
    await first.machine.migrate("store:a");
    await first.machine.migrationDone();
    await second.machine.migrateIncoming("store:a");
    expect(second.machine.runState).toBe("running");
    expect(disk.lockedBy).toBeDefined();
    expect(disk.lockedBy).not.toBe(held);
    await expect(first.machine.cont()).rejects.toMatchObject(busy);
    await first.machine.quit();
    expect(disk.lockedBy).toBeDefined();
    await second.machine.quit();
  });

  it("keeps a VM from going on that was loaded while another one has it; cont is possible later", async () => {
    const first = await withDisk();
    await first.machine.migrate("store:a");
    await first.machine.migrationDone();
    await first.machine.quit();
    const { machine } = await withDisk({ incoming: "defer" });
    disk.lockedBy = otherProcess;
    await expect(machine.migrateIncoming("store:a")).rejects.toMatchObject(busy);
    disk.lockedBy = undefined;
    await machine.cont();
    expect(machine.runState).toBe("running");
    await machine.quit();
  });

  it("that another process has keeps a VM from being made", async () => {
    disk.lockedBy = otherProcess;
    expect(await refusal({})).toMatchObject({ ...busy, hint: "Is another process using the image [/disk]?" });
    expect(disk.log).toEqual(["close"]);
    expect(disk.lockedBy).toBe(otherProcess);
  });

  it("must be there, have a name of its own and a driver that is installed, and belong to one device", async () => {
    expect(await refusal({ disks: ["/disk", "/other"] })).toMatchObject({ code: "ERR_CPR_FAKE_DISK" });
    expect(disk.log).toEqual(["close"]);
    expect(await refusal({ commandLine: "disk=disk1" })).toMatchObject({
      code: "ERR_CPR_BLOCK_DEVICE",
      message: "Property 'drive' can't find value 'disk1'",
    });
  });

  it("that the host cannot read is told, at first and not each time, and the guest goes on", async () => {
    const { machine, events } = await withDisk();
    disk.failure = "EIO";
    type(machine, "DDDD");
    const told = () => events.filter(({ event }) => event === "BLOCK_IO_ERROR");
    await until(() => told().length > 0, "the event");
    await until(() => disk.log.length === 4, "all four requests");
    expect(told()).toEqual([
      {
        event: "BLOCK_IO_ERROR",
        ...{ device: "disk0", operation: "read", noSpace: false, reason: "Input/output error" },
        report: "the host could not read the disk 'disk0' (/disk): Input/output error; the guest was told",
      },
    ]);
    disk.failure = undefined;
    await machine.stop();
    await machine.quit();
  });

  it("that cannot be flushed keeps the VM from being stopped and saved", async () => {
    const { machine } = await withDisk();
    disk.failure = "ENOSPC";
    await expect(machine.stop()).rejects.toMatchObject({ message: "ENOSPC" });
    expect(machine.runState).toBe("running");
    await machine.migrate("store:a");
    expect(await machine.migrationDone()).toMatchObject({ status: "failed" });
    expect(machine.runState).toBe("running");
    disk.failure = undefined;
    await machine.quit();
  });

  it("is told to the monitor", async () => {
    const { machine } = await withDisk();
    expect(await machine.queryBlock()).toMatchObject([
      { id: "disk0", driver: "fake", path: "/disk", size: 1 << 20, readOnly: false, user: "fake" },
    ]);
    await machine.quit();
  });
});
