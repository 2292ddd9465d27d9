import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { CprProcess, FileLines } from "../../../tools/cpr-process.ts";
import { busyboxInitramfs, guestAssets } from "../../../tools/guest-assets.ts";
import { loadModules, moduleEntries } from "../../../tools/lab/kernel-modules.ts";
import { scratchFolder, scratchMachine } from "./scratch.ts";

/** Reads 16 bytes from each of two entropy devices once a second, and shows where their interrupts lead. */
const randomInit = `#!/bin/busybox sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
${loadModules()}
round=0
while :; do
  for device in 0 1; do
    echo virtio_rng.$device >/sys/class/misc/hw_random/rng_current
    value=$(head -c 16 /dev/hwrng | hexdump -v -e '16/1 "%02x"')
    echo "round $round device $device value $value"
  done
  grep virtio /proc/interrupts
  round=$((round + 1))
  sleep 1
done
`;

/** A line of {@link randomInit} about one device, in a round from `first` on. */
const valueRead =
  (device: number, first = 0) =>
  (line: string): { readonly round: number; readonly value: string } | undefined => {
    const [, round, which, value = ""] = /^round (\d+) device (\d) value ([0-9a-f]{32})$/.exec(line) ?? [];
    return Number(which) === device && Number(round) >= first ? { round: Number(round), value } : undefined;
  };

it("Debian's kernel uses devices on PCI, with MSI-X and without, before and after a checkpoint", {
  timeout: 400_000,
}, async () => {
  const { kernel, modules, busybox } = await guestAssets();
  const initrd = join(scratchFolder(), "initramfs.cpio");
  const drivers = moduleEntries(modules, ["virtio_pci", "virtio-rng"]);
  writeFileSync(initrd, busyboxInitramfs(readFileSync(busybox), randomInit, drivers));
  const machine = scratchMachine(kernel, { size: "256M" });
  const options = machine.options([
    ...["-accel", "interp", "-initrd", initrd, "-append", "console=ttyS0 quiet cryptomgr.notests panic=-1"],
    ...["-device", "virtio-rng-pci,id=messages", "-device", "virtio-rng-pci,id=lines,vectors=0,addr=9"],
  ]);
  const first = new CprProcess(options);
  onTestFinished(() => first.kill("SIGKILL"));
  await first.ready();
  const lines = new FileLines(machine.console);
  const before = [await lines.until(valueRead(0), 200), await lines.until(valueRead(1), 60)];
  const interrupt = (device: string): Promise<string> =>
    lines.until((line) => (line.includes(device) ? line : undefined), 60);
  expect(await interrupt("virtio1")).toMatch(/IO-APIC +17-fasteoi/);
  expect(await interrupt("virtio0-input")).toMatch(/PCI-MSI +\d+-edge/);

  await first.chooseReboot();
  expect(await first.command(`migrate -d file:${machine.state}`)).toBe("");
  expect(await first.command("info status")).toBe("VM status: paused (postmigrate)");
  await first.quit();
  const second = new CprProcess([...options, "-incoming", "defer"]);
  onTestFinished(() => second.kill("SIGKILL"));
  await second.ready();
  await second.chooseReboot();
  expect(await second.command(`migrate_incoming file:${machine.state}`)).toBe("");
  // Two rounds that were begun here, whatever was read ahead.
  const carriedOn = new FileLines(machine.console);
  const { round } = await carriedOn.until(valueRead(0), 120);
  const values = [...before.map(({ value }) => value)];
  for (const device of [0, 1, 0, 1]) {
    values.push((await carriedOn.until(valueRead(device, round + 1), 120)).value);
  }
  expect(round).toBeGreaterThanOrEqual(before[0]?.round ?? 0);
  expect(new Set(values).size).toBe(values.length);
  expect(readFileSync(machine.console, "latin1")).not.toMatch(/BUG:|Call Trace|nobody cared|WARNING/);

  // A reset finds the devices as they were at first.
  expect(await second.command("system_reset")).toBe("");
  const again = await carriedOn.until(
    (line) => (valueRead(1)(line)?.round === 0 ? valueRead(1)(line) : undefined),
    200,
  );
  expect(values).not.toContain(again.value);
});
