import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { CprProcess, FileLines } from "../../../tools/cpr-process.ts";
import { busyboxInitramfs, guestAssets } from "../../../tools/guest-assets.ts";
import { loadModules, moduleEntries } from "../../../tools/lab/kernel-modules.ts";
import { type ScratchMachine, scratchFolder, scratchMachine } from "./scratch.ts";

/** Sleeps again and again, and tells before and after what the kernel's uptime is and whether a file in memory is as it was. */
const sleepingInit = `#!/bin/busybox sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
${loadModules()}
dd if=/dev/urandom of=/data bs=64k count=32 2>/dev/null
sum=$(sha256sum </data)
dd if=/data of=/dev/vda bs=64k conv=fsync 2>/dev/null || echo "write error"
read -r kinds </sys/power/mem_sleep
echo "kinds of sleep: $kinds"
round=0
while :; do
  read -r uptime idle </proc/uptime
  echo "sleep $round uptime $uptime"
  echo mem >/sys/power/state || echo "no sleep"
  read -r uptime idle </proc/uptime
  [ "$(sha256sum </data)" = "$sum" ] && memory=same || memory=different
  echo 1 >/proc/sys/vm/drop_caches
  [ "$(sha256sum </dev/vda)" = "$sum" ] && disk=same || disk=different
  echo "woke $round uptime $uptime processors $(grep -c ^processor /proc/cpuinfo) memory $memory disk $disk"
  round=$((round + 1))
  sleep 3
done
`;

/** Waits for the power button and panics then; the drivers are modules. */
const listeningInit = `#!/bin/busybox sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
${loadModules()}
echo "listening"
until grep -q "^ *[1-9]" /sys/firmware/acpi/interrupts/ff_pwr_btn; do sleep 1; done
echo "pressed"
echo c >/proc/sysrq-trigger
`;

interface Turn {
  readonly round: number;
  readonly uptime: number;
}

const parse = (line: string, word: string): Turn | undefined => {
  const match = new RegExp(`^${word} (\\d+) uptime (\\d+\\.\\d+)`).exec(line);
  return match === null ? undefined : { round: Number(match[1]), uptime: Number(match[2]) };
};

/** Boots Debian's kernel to a script. */
async function boot(init: string, more: readonly string[]) {
  const { kernel, busybox, modules } = await guestAssets();
  const machine = scratchMachine(kernel, { size: "256M" });
  const loaded = moduleEntries(modules, ["virtio_pci", "virtio_blk", "button", "pvpanic-mmio"]);
  const initramfs = join(machine.state, "..", "initramfs.cpio");
  writeFileSync(initramfs, busyboxInitramfs(readFileSync(busybox), init, loaded));
  const options = machine.options([
    ...["-accel", "interp", "-initrd", initramfs, ...more],
    ...["-append", "console=ttyS0 cryptomgr.notests panic=-1"],
  ]);
  const process = await start(options);
  return { machine, options, process };
}

async function start(options: readonly string[]): Promise<CprProcess> {
  const process = new CprProcess(options);
  onTestFinished(() => process.kill("SIGKILL"));
  await process.ready();
  return process;
}

async function untilAsleep(process: CprProcess): Promise<void> {
  await expect
    .poll(() => process.command("info status"), { timeout: 180_000, interval: 200 })
    .toBe("VM status: paused (suspended)");
}

/** Wakes the guest and returns the line with which it says so. */
async function wake(process: CprProcess, { console }: ScratchMachine, round: number): Promise<Turn> {
  const lines = new FileLines(console);
  expect(await process.command("system_wakeup")).toBe("");
  expect(await process.command("info status")).toBe("VM status: running");
  const line = await lines.until((each) => (parse(each, "woke")?.round === round ? each : undefined), 120);
  expect(line).toMatch(/memory same disk same$/);
  return parse(line, "woke") as Turn;
}

describe("Debian's kernel, suspended to RAM", () => {
  it.each([1, 2])(
    "wakes with %i vCPUs, in the same process and in a new one",
    { timeout: 600_000 },
    async (processors) => {
      const disk = join(scratchFolder(), "disk.raw");
      writeFileSync(disk, "");
      truncateSync(disk, 2 << 20);
      const { machine, options, process } = await boot(sleepingInit, [
        ...["-smp", `${processors}`, "-drive", `file=${disk},format=raw,if=virtio`],
      ]);
      const lines = new FileLines(machine.console);
      expect(await lines.until((line) => /^kinds of sleep: (.*)/.exec(line)?.[1], 180)).toContain("[deep]");
      const before = await lines.until((line) => parse(line, "sleep"), 120);
      await untilAsleep(process);
      const awake = await wake(process, machine, 0);
      expect(awake.uptime).toBeGreaterThanOrEqual(before.uptime);

      // Stopped and going on it is still asleep.
      await untilAsleep(process);
      expect(await process.command("system_powerdown")).toBe("");
      expect(await process.command("stop")).toBe("");
      expect(await process.command("info status")).toBe("VM status: paused");
      expect(await process.command("system_wakeup")).toBe("Error: Unable to wake up: guest is not in suspended state");
      expect(await process.command("cont")).toBe("");
      expect(await process.command("info status")).toBe("VM status: paused (suspended)");

      // The order of commands and answers of QEMU's documentation, example 2.
      await process.chooseReboot();
      expect(await process.command(`migrate -d file:${machine.state}`)).toBe("");
      expect(await process.command("info status")).toBe("VM status: paused (postmigrate)");
      await process.quit();
      const second = await start([...options, "-incoming", "defer"]);
      expect(await second.command("info status")).toBe("VM status: paused (inmigrate)");
      await second.chooseReboot();
      expect(await second.command(`migrate_incoming file:${machine.state}`)).toBe("");
      expect(await second.command("info status")).toBe("VM status: paused (suspended)");
      const moved = await wake(second, machine, 1);
      expect(moved.uptime).toBeGreaterThan(awake.uptime);

      const text = readFileSync(machine.console, "latin1");
      expect(text).toMatch(/ACPI: PM: Waking up from system sleep state S3/);
      expect(text).toMatch(new RegExp(`woke 1 .* processors ${processors} `));
      expect(text).not.toMatch(/WARNING:|BUG:|Call Trace|Oops|soft lockup|no sleep|no module|write error/);
    },
  );
});

describe("Debian's kernel", () => {
  it("is told of the power button, and tells of its panic", { timeout: 300_000 }, async () => {
    const { machine, process } = await boot(listeningInit, ["-device", "pvpanic", "-device", "vmgenid"]);
    const lines = new FileLines(machine.console);
    await lines.until((line) => (line === "listening" ? true : undefined), 180);
    expect(await process.command("system_powerdown")).toBe("");
    await lines.until((line) => (line === "pressed" ? true : undefined), 60);
    const { status, stderr } = await process.ended;
    expect(stderr).toContain("GUEST_PANICKED");
    expect(status).toBe(0);
    expect(readFileSync(machine.console, "latin1")).not.toMatch(/no module/);
  });
});
