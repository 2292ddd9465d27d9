import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { CprProcess, FileLines } from "../../../tools/cpr-process.ts";
import { busyboxInitramfs, guestAssets } from "../../../tools/guest-assets.ts";
import { scratchFolder, scratchMachine } from "./scratch.ts";

const processors = 4;
const workers = 8;
const hashes = 60;

/** More workers than vCPUs, each of which hashes its own number over and over, with new processes for each time. */
const init = `#!/bin/busybox sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
echo "processors $(nproc) online $(cat /sys/devices/system/cpu/online)"
work() {
  value=$1
  for round in $(seq ${hashes}); do value=$(echo $value | sha256sum | cut -c 1-64); done
  echo "worker $1 $value"
}
for worker in $(seq ${workers}); do work $worker & done
echo "workers work"
wait
grep "^cpu[0-9]" /proc/stat
echo "all done"
poweroff -f
`;

function expectedValue(worker: number): string {
  let value = String(worker);
  for (let round = 0; round < hashes; round++) value = createHash("sha256").update(`${value}\n`).digest("hex");
  return value;
}

it("Debian's kernel uses four vCPUs, and goes on with all of them in a new process", { timeout: 300_000 }, async () => {
  const { kernel, busybox } = await guestAssets();
  const initrd = join(scratchFolder(), "workers.cpio");
  writeFileSync(initrd, busyboxInitramfs(readFileSync(busybox), init));
  const machine = scratchMachine(kernel, { size: "256M" });
  const options = machine.options([
    ...["-smp", String(processors), "-initrd", initrd],
    ...["-append", "console=ttyS0 cryptomgr.notests panic=-1", "-no-reboot"],
  ]);
  const first = new CprProcess(options);
  onTestFinished(() => first.kill("SIGKILL"));
  await first.ready();
  await new FileLines(machine.console).until((line) => (line.includes("workers work") ? true : undefined), 120);
  await first.command("migrate_set_parameter mode cpr-reboot");
  await first.command("migrate_set_capability x-ignore-shared on");
  expect(await first.command(`migrate -d file:${machine.state}`)).toBe("");
  expect(await first.command("info status")).toBe("VM status: paused (postmigrate)");
  await first.quit();
  const before = readFileSync(machine.console, "latin1");

  const second = new CprProcess([...options, "-incoming", "defer"]);
  onTestFinished(() => second.kill("SIGKILL"));
  await second.ready();
  await second.command("migrate_set_parameter mode cpr-reboot");
  await second.command("migrate_set_capability x-ignore-shared on");
  expect(await second.command(`migrate_incoming file:${machine.state}`)).toBe("");
  expect((await second.ended).status).toBe(0);
  const after = readFileSync(machine.console, "latin1");

  expect(before).toMatch(/smp: Brought up 1 node, 4 CPUs/);
  expect(before).toMatch(/processors 4 online 0-3/);
  expect(before).not.toContain("all done");
  const results = [...`${before}\n${after}`.matchAll(/^worker (\d+) ([0-9a-f]{64})\r*$/gm)];
  expect(new Map(results.map(([, worker, value]) => [Number(worker), value]))).toEqual(
    new Map(Array.from({ length: workers }, (_, index) => [index + 1, expectedValue(index + 1)])),
  );
  // Ticks in user mode and in the kernel (proc(5)): each vCPU has worked.
  const times = [...after.matchAll(/^cpu(\d) (\d+) \d+ (\d+) /gm)].map(
    ([, , user, system]) => Number(user) + Number(system),
  );
  expect(times).toHaveLength(processors);
  expect(Math.min(...times)).toBeGreaterThan(10);
  expect(before + after).not.toMatch(/WARNING:|BUG:|Call Trace|Oops|unchecked MSR|soft lockup|stall|TSC warp|unstable/);
});
