import { timedLines } from "../../../bench/peers/timed-lines.ts";
import { firstLine, guestAssets } from "../../guest-assets.ts";
import type { Scenario } from "../scenario.ts";

/** What `nproc` prints in the guest. */
const isNumber = (line: string): boolean => /^\d+$/.test(line);

export const scenario: Scenario = {
  description: "QEMU's microvm boots Debian's kernel with KVM in the lab host: what cpr is measured beside",
  seconds: 600,
  processors: [1, 4],
  async run({ report, processors }) {
    const { kernel, initramfs } = await guestAssets();
    for (const count of processors) {
      // NOTE: without a clock to read, the kernel waits five seconds for one.
      const machine = ["-nodefaults", "-no-user-config", "-M", "microvm,rtc=on", "-accel", "kvm", "-cpu", "host"];
      const guest = [
        "-kernel",
        kernel,
        "-initrd",
        initramfs,
        "-append",
        "console=ttyS0 loglevel=5 cryptomgr.notests cpr.run=nproc",
      ];
      const lines = await timedLines(
        "qemu-system-x86_64",
        [
          ...[...machine, "-smp", String(count), "-m", "512", "-display", "none", "-serial", "stdio", "-no-reboot"],
          ...guest,
        ],
        isNumber,
        { seconds: 120 },
      );
      const first = lines.find(({ text }) => text.includes(firstLine));
      const seen = lines.find(({ text }) => isNumber(text))?.text;
      if (first === undefined || seen !== String(count)) {
        throw new Error(
          `QEMU with ${count} vCPUs: ${lines
            .slice(-20)
            .map(({ text }) => text)
            .join("\n")}`,
        );
      }
      report(`QEMU -M microvm -accel kvm -smp ${count}: userspace after ${(first.at / 1000).toFixed(1)} s`);
    }
  },
};
