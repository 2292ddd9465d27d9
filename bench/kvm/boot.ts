import { execPath } from "node:process";
import { cprCommand } from "../../tools/cpr-process.ts";
import { firstLine, guestAssets } from "../../tools/guest-assets.ts";
import { timedLines } from "../peers/timed-lines.ts";
import type { Report } from "../report.ts";
import { report } from "./figure.ts";

/** Seconds from the start of the process to the first line of userspace. */
async function secondsToUserspace(command: string, words: readonly string[]): Promise<number> {
  const isFirstLine = (line: string): boolean => line.includes(firstLine);
  const last = (await timedLines(command, words, isFirstLine)).at(-1);
  if (last === undefined || !isFirstLine(last.text)) throw new Error(`${command} did not reach userspace`);
  return last.at / 1000;
}

/** Debian's stock cloud kernel, from the start of the process to the first line of userspace. */
export async function boot(rounds: number): Promise<Report> {
  const { kernel, kernelVersion, initramfs } = await guestAssets();
  const figures = [];
  for (const processors of [1, 4]) {
    const guest = [
      ...["-smp", String(processors), "-m", "512M", "-kernel", kernel, "-initrd", initramfs],
      ...["-append", "console=ttyS0 cryptomgr.notests", "-serial", "stdio", "-no-reboot"],
    ];
    const cpr: number[] = [];
    const qemu: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      cpr.push(await secondsToUserspace(execPath, [cprCommand, "run", "-accel", "kvm", ...guest]));
      qemu.push(
        await secondsToUserspace("qemu-system-x86_64", [
          // NOTE: without a clock to read, the kernel waits five seconds for one.
          ...["-nodefaults", "-no-user-config", "-M", "microvm,rtc=on", "-accel", "kvm", "-cpu", "host"],
          ...["-display", "none", ...guest],
        ]),
      );
    }
    figures.push({ what: "to the first line of userspace", processors, cpr, qemu });
  }
  return report({
    title: `Boot of Debian's ${kernelVersion}, 512 MiB`,
    figures,
    format: (value) => `${value.toFixed(2)} s`,
  });
}
