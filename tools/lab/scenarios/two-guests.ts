import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execPath } from "node:process";
import { timedLines } from "../../../bench/peers/timed-lines.ts";
import { cprCommand } from "../../cpr-process.ts";
import { busyboxInitramfs, guestAssets } from "../../guest-assets.ts";
import type { Scenario } from "../scenario.ts";

/** How often two guests are started at once. */
const pairs = 2;
/** How often a guest fills memory before it is ended. */
const rounds = 8;

/** Fills memory with random bytes, again and again, and reads them twice. */
const init = `#!/bin/busybox sh
export PATH=/bin
mount -t devtmpfs devtmpfs /dev
round=0
while :; do
  dd if=/dev/urandom of=/tmp/data bs=1M count=8 2>/dev/null
  [ "$(sha256sum </tmp/data)" = "$(sha256sum </tmp/data)" ] && echo "round $round same" || echo "round $round different"
  round=$((round + 1))
done
`;

/** What became of a guest if it did not do all of its rounds. */
async function trouble(program: string, words: readonly string[]): Promise<string | undefined> {
  const isEnd = (line: string): boolean => line === `round ${rounds} same` || / different$|Call Trace|Oops/.test(line);
  try {
    const lines = (await timedLines(program, words, isEnd, { seconds: 400 })).map(({ text }) => text);
    return lines.includes(`round ${rounds} same`) ? undefined : `ended after: ${lines.slice(-3).join(" / ")}`;
  } catch (error) {
    return (error as Error).message;
  }
}

export const scenario: Scenario = {
  description: "Two guests at once on KVM, of QEMU and of cpr, that boot and fill their memory: how many get through",
  seconds: 2400,
  processors: [1],
  async run({ report, processors }) {
    const { kernel, busybox } = await guestAssets();
    const folder = mkdtempSync("/dev/shm/cpr-lab-");
    const initramfs = join(folder, "initramfs.cpio");
    writeFileSync(initramfs, busyboxInitramfs(readFileSync(busybox), init));
    const failures = { QEMU: 0, cpr: 0 };
    for (const count of processors) {
      const guest = [
        ...["-smp", String(count), "-m", "256M", "-no-reboot", "-kernel", kernel, "-initrd", initramfs],
        ...["-append", "console=ttyS0 loglevel=5 cryptomgr.notests panic=-1", "-serial", "stdio", "-monitor", "none"],
      ];
      // NOTE: without a clock to read, the kernel waits five seconds for one.
      const microvm = ["-nodefaults", "-no-user-config", "-M", "microvm,rtc=on", "-cpu", "host", "-display", "none"];
      const machines = {
        QEMU: ["qemu-system-x86_64", ...microvm, "-accel", "kvm", ...guest],
        cpr: [execPath, cprCommand, "run", "-accel", "kvm", ...guest],
      };
      for (let pair = 1; pair <= pairs; pair += 1) {
        for (const name of ["QEMU", "cpr"] as const) {
          const [program = "", ...words] = machines[name];
          const troubles = await Promise.all([trouble(program, words), trouble(program, words)]);
          const told = troubles.filter((each) => each !== undefined);
          failures[name] += told.length;
          report(`${name} -smp ${count}, pair ${pair}: ${told.length === 0 ? "both got through" : told.join("; ")}`);
        }
      }
    }
    rmSync(folder, { recursive: true });
    const all = 2 * pairs * processors.length;
    report(`Of ${all} guests each, ${failures.cpr} of cpr and ${failures.QEMU} of QEMU did not get through`);
    if (failures.cpr > 0 && failures.QEMU === 0) throw new Error("Only guests of cpr do not get through.");
  },
};
