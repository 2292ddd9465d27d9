import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, it, onTestFinished } from "vitest";
import { QmpProcess } from "./qmp-process.ts";

const mebibyte = 1024 * 1024;

/** A fresh folder on a disk, where most file systems know O_DIRECT. */
function folderOnDisk(): string {
  const folder = mkdtempSync(join(tmpdir(), "cpr-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function start(folder: string, name: string, ...options: string[]): Promise<QmpProcess> {
  const started = await QmpProcess.start({ folder, name, options });
  await started.setParameters({ mode: "cpr-reboot", "multifd-channels": 2 });
  await started.setCapabilities("mapped-ram", "multifd");
  return started;
}

/** The flags of the descriptors that a process has of files in a folder whose names end so (proc_pid_fdinfo(5)). */
function flagsOf(pid: number, folder: string, suffix: string): number[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((descriptor) => {
    try {
      const path = readlinkSync(`/proc/${pid}/fd/${descriptor}`);
      const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/${pid}/fdinfo/${descriptor}`, "utf8"))?.[1];
      return path.startsWith(folder) && path.endsWith(suffix) ? [Number.parseInt(flags ?? "", 8)] : [];
    } catch {
      // It was closed meanwhile.
      return [];
    }
  });
}

/** O_DIRECT on x86-64 (asm-generic/fcntl.h). */
const direct = 0o40000;

it.each([false, true])(
  "threads keep to max-bandwidth, tell how far they are, and end when the user cancels (direct-io %s)",
  async (directIo) => {
    const folder = folderOnDisk();
    const uri = `file:${join(folder, "vm.state")}`;
    const machine = await start(folder, "source");
    await machine.untilPrinted("B");
    await machine.setParameters({ "max-bandwidth": mebibyte, "direct-io": directIo });
    await machine.execute("migrate", { uri });
    const transferred = async () => (await machine.migration()).ram?.transferred ?? 0;
    const first = await transferred();
    while ((await transferred()) <= first) await delay(20);
    // One descriptor is the stream's own, which is never direct.
    const flags = flagsOf(machine.pid, folder, ".tmp");
    expect(flags.length).toBe(3);
    expect(flags.filter((each) => (each & direct) !== 0).length).toBe(directIo ? 2 : 0);
    await machine.execute("migrate_cancel");
    await machine.untilMigration("cancelled");
    // It would have taken half a minute.
    expect(await transferred()).toBeLessThan(20 * mebibyte);
    await machine.until("RESUME");
    expect(await machine.status()).toMatchObject({ running: true });
    expect(flagsOf(machine.pid, folder, ".tmp")).toEqual([]);
    expect(readdirSync(folder).filter((name) => name.includes("vm.state"))).toEqual([]);
    await machine.untilPrinted("B");

    await machine.setParameters({ "max-bandwidth": 0 });
    await machine.execute("migrate", { uri });
    await machine.untilMigration("completed");
    await machine.quit();
    const target = await start(folder, "target", "-incoming", "defer");
    await target.setParameters({ "direct-io": directIo });
    await target.execute("migrate-incoming", { uri });
    await target.untilMigration("completed");
    await target.untilPrinted("B");
    await target.quit();
  },
);

it("a write that fails in a thread is told with the file's name and the reason, and the VM runs on", async () => {
  const folder = folderOnDisk();
  const path = join(folder, "vm.state");
  const machine = await start(folder, "source");
  await machine.untilPrinted("B");
  execFileSync("prlimit", ["--pid", String(machine.pid), `--fsize=${8 * mebibyte}`]);
  await machine.execute("migrate", { uri: `file:${path}` });
  await machine.until("MIGRATION failed");
  expect((await machine.migration())["error-desc"]).toBe(`Could not write '${path}': File too large`);
  await machine.until("RESUME");
  expect(await machine.status()).toMatchObject({ running: true });
  await machine.untilPrinted("B");
  // The VM runs again before what was written is removed.
  while (readdirSync(folder).some((name) => name.includes("vm.state"))) await delay(20);
});
