import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { CprProcess, cprCommand } from "../../cpr-process.ts";
import { guestAssets } from "../../guest-assets.ts";
import { processorTime } from "../../processor-time.ts";
import { SystemConsole } from "../../system-console.ts";
import { type Scenario, secondsSince } from "../scenario.ts";

const kernelOptions = "console=ttyS0 root=/dev/vda quiet cryptomgr.notests module_blacklist=kvm_amd,kvm";
/** How long an idle guest is watched, in seconds. */
const idle = 20;

/** Runs a command of `cpr`, which must succeed. */
function runCpr(folder: string, words: readonly string[]): void {
  execFileSync(process.execPath, [cprCommand, ...words], { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
}

export const scenario: Scenario = {
  description: "Debian with systemd boots from a block device; its agent suspends it, and it wakes in a new process",
  seconds: 1800,
  accelerators: ["kvm"],
  processors: [2],
  host: { debianDisk: true },
  async run({ report, accelerators, processors }) {
    // The guest is to have it for itself.
    execFileSync("umount", ["/var"]);
    const { kernel } = await guestAssets();
    for (const accelerator of accelerators) {
      for (const count of processors) {
        const name = `-accel ${accelerator} -smp ${count}`;
        const folder = mkdtempSync("/dev/shm/cpr-lab-");
        const path = (file: string): string => join(folder, file);
        const socket = (file: string): string => `path=${path(file)},server=on,wait=off`;
        const options = [
          ...["-accel", accelerator, "-smp", String(count), "-m", "512M"],
          ...["-object", `memory-backend-file,id=ram0,size=512M,mem-path=${path("ram0")},share=on`],
          ...["-kernel", kernel, "-initrd", join(dirname(kernel), "initrd-disk.cpio"), "-append", kernelOptions],
          ...["-drive", "file=/dev/vdb,format=raw,if=virtio", "-device", "virtio-rng-pci"],
          ...["-chardev", `socket,id=qga0,${socket("qga.sock")}`],
          ...["-device", "virtserialport,chardev=qga0,name=org.qemu.guest_agent.0"],
          ...["-chardev", `socket,id=com1,${socket("com1.sock")}`, "-serial", "chardev:com1"],
          ...["-qmp", `unix:${path("vm.qmp")},server=on,wait=off`],
        ];
        const started = performance.now();
        const first = new CprProcess(options);
        await first.ready();
        const console = await SystemConsole.connect(path("com1.sock"));
        await console.logIn(900);
        report(`${name}: logged in after ${secondsSince(started)}`);
        assert.equal(await console.ask("systemctl is-system-running --wait", 600), "running");
        const before = processorTime(first.pid);
        await new Promise((resolve) => setTimeout(resolve, idle * 1000));
        const share = (100 * (processorTime(first.pid) - before)) / idle;
        report(`${name}: while the guest idles, the process takes ${share.toFixed(1)} % of an emulated processor`);
        console.close();

        runCpr(folder, ["save", "vm.qmp", "vm.state", "--suspend-guest", "--suspend-timeout", "300", "--quit"]);
        assert.equal((await first.ended).status, 0);
        const second = new CprProcess([...options, "-incoming", "defer"]);
        await second.ready();
        const next = await SystemConsole.connect(path("com1.sock"));
        runCpr(folder, ["load", "vm.qmp", "vm.state"]);
        assert.equal(await second.command("info status"), "VM status: paused (suspended)");
        assert.equal(await second.command("system_wakeup"), "");
        await next.untilAwake(300);
        assert.equal(await next.ask("dmesg | grep -c 'PM: suspend exit'"), "1");
        assert.equal(await next.ask("dmesg | grep -cE 'I/O error|Call Trace|BUG:|WARNING:' || true"), "0");
        report(`${name}: suspended by its agent, saved, and awake in a new process`);
        next.type("poweroff\n");
        assert.equal((await second.ended).status, 0);
        rmSync(folder, { recursive: true, force: true });
      }
    }
  },
};
