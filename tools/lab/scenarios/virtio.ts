import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { busyboxInitramfs, guestAssets } from "../../guest-assets.ts";
import type { InitramfsEntry } from "../../initramfs.ts";
import { type Scenario, secondsSince } from "../scenario.ts";
import { WatchedGuest } from "../watched-guest.ts";

/** The lab host's own modules, in an order in which they can be loaded: they fit a guest with the same kernel. */
const modules = "/lab/modules";
const tap = { name: "lab0", address: "192.0.2.1", guest: "192.0.2.2" };

/**
 * Each round writes to the disk and compares what is read again, reads from both entropy devices, and asks the host for an answer
 * over the network; the console is the serial port, and hvc0 tells the rounds too.
 */
const init = (names: readonly string[]): string => `#!/bin/busybox sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in ${names.join(" ")}; do
  insmod /modules/$module.ko
done
busybox ip address add ${tap.guest}/24 dev eth0
busybox ip link set eth0 up
round=0
while :; do
  dd if=/dev/urandom of=/tmp/chunk bs=64k count=4 2>/dev/null
  dd if=/tmp/chunk of=/dev/vda bs=256k seek=$((round % 16)) conv=notrunc,fsync 2>/dev/null || echo "write error"
  echo 3 >/proc/sys/vm/drop_caches
  dd if=/dev/vda of=/tmp/copy bs=256k skip=$((round % 16)) count=1 2>/dev/null
  [ "$(sha256sum </tmp/chunk)" = "$(sha256sum </tmp/copy)" ] && disk=same || disk=different
  for device in 0 1; do
    echo virtio_rng.$device >/sys/class/misc/hw_random/rng_current
    random=$(head -c 8 /dev/hwrng | hexdump -v -e '8/1 "%02x"') && echo "device $device random $random"
  done
  busybox ping -c 1 -W 20 ${tap.address} >/dev/null && network=answers || network=silent
  echo "round $round disk $disk network $network"
  echo "round $round" >/dev/hvc0
  round=$((round + 1))
done
`;

/** A round in which everything worked; one in which something did not is an error. */
function parseRound(line: string): number | undefined {
  const [, round, disk, network] = /^round (\d+) disk (\w+) network (\w+)/.exec(line) ?? [];
  if (round === undefined) return undefined;
  assert.deepEqual({ disk, network }, { disk: "same", network: "answers" }, line);
  return Number(round);
}

/** A guest with a device of each kind, whose disk and RAM are files on tmpfs. */
class VirtioGuest implements Disposable {
  readonly #folder = mkdtempSync("/dev/shm/cpr-lab-");
  readonly #kernel: string;
  readonly #processors: number;
  #guest!: WatchedGuest;

  private constructor(kernel: string, processors: number) {
    this.#kernel = kernel;
    this.#processors = processors;
  }

  static async boot(accelerator: string, processors: number): Promise<VirtioGuest> {
    const { kernel, busybox } = await guestAssets();
    const guest = new VirtioGuest(kernel, processors);
    const loaded = readFileSync(join(modules, "order"), "utf8").trim().split("\n");
    const names = loaded.filter((name) => /virtio|failover|rng/.test(name));
    const entries = names.map((name): InitramfsEntry => {
      return { path: `modules/${name}.ko`, kind: "file", data: readFileSync(join(modules, `${name}.ko`)) };
    });
    writeFileSync(guest.#place("initramfs"), busyboxInitramfs(readFileSync(busybox), init(names), entries));
    writeFileSync(guest.#place("disk"), "");
    truncateSync(guest.#place("disk"), 16 << 20);
    await guest.#start(accelerator, []);
    await guest.untilRound();
    return guest;
  }

  /** Waits for the end of two rounds, of which the second began after the call. */
  async untilRound(): Promise<void> {
    await this.#guest.until(parseRound);
    await this.#guest.until(parseRound);
  }

  async carryOn(accelerator: string): Promise<void> {
    await this.#guest.chooseReboot();
    await this.#guest.command(`migrate file:${this.#place("vm.state")}`);
    await this.#guest.quit();
    const before = this.#rounds();
    await this.#start(accelerator, ["-incoming", "defer"]);
    await this.#guest.chooseReboot();
    await this.#guest.command(`migrate_incoming file:${this.#place("vm.state")}`);
    await this.untilRound();
    assert.ok(this.#rounds() > before, "the guest's second console goes on");
  }

  async quit(): Promise<void> {
    await this.#guest.quit();
  }

  [Symbol.dispose](): void {
    this.#guest[Symbol.dispose]();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** The last round that hvc0 told. */
  #rounds(): number {
    const rounds = readFileSync(this.#place("hvc.log"), "latin1").match(/\d+/g) ?? [];
    return Number(rounds.at(-1) ?? -1);
  }

  #place(name: string): string {
    return join(this.#folder, name);
  }

  async #start(accelerator: string, more: readonly string[]): Promise<void> {
    const options = [
      ...["-accel", accelerator, "-smp", String(this.#processors), "-m", "256M", "-no-reboot"],
      ...["-object", `memory-backend-file,id=ram0,size=256M,mem-path=${this.#place("ram0")},share=on`],
      ...["-kernel", this.#kernel, "-initrd", this.#place("initramfs")],
      ...["-append", "console=ttyS0 loglevel=5 cryptomgr.notests panic=-1 net.ifnames=0"],
      ...["-drive", `file=${this.#place("disk")},format=raw,if=virtio`],
      // One with messages, one with the interrupt line that a level is on.
      ...["-device", "virtio-rng-pci", "-device", "virtio-rng-pci,vectors=0"],
      ...["-netdev", `tap,id=n0,ifname=${tap.name},script=no,downscript=no`, "-device", "virtio-net-pci,netdev=n0"],
      ...["-chardev", `file,id=hvc,path=${this.#place("hvc.log")},append=on`, "-device", "virtconsole,chardev=hvc"],
      ...more,
    ];
    this.#guest = new WatchedGuest(options, join(mkdtempSync(join(this.#folder, "console-")), "log"));
    await this.#guest.ready();
  }
}

export const scenario: Scenario = {
  description: "A guest uses disk, network, console and entropy devices on PCI, and goes on in new processes",
  seconds: 1500,
  accelerators: ["kvm", "interp"],
  processors: [2],
  async run({ report, accelerators, processors }) {
    const [first = "kvm", ...others] = accelerators;
    execFileSync("tunctl", ["-t", tap.name]);
    execFileSync("ip", ["address", "add", `${tap.address}/24`, "dev", tap.name]);
    execFileSync("ip", ["link", "set", tap.name, "up"]);
    for (const count of processors) {
      const started = performance.now();
      using guest = await VirtioGuest.boot(first, count);
      report(`-smp ${count}: disk, network, console and entropy work on ${first} after ${secondsSince(started)}`);
      for (const accelerator of [first, ...others, ...(others.length === 0 ? [] : [first])]) {
        const moved = performance.now();
        await guest.carryOn(accelerator);
        report(`-smp ${count}: all of them go on on ${accelerator}; that took ${secondsSince(moved)}`);
      }
      await guest.quit();
    }
  },
};
