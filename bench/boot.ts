import { cprCommand } from "../tools/cpr-process.ts";
import { firstLine, guestAssets } from "../tools/guest-assets.ts";
import { ensureQemu } from "./peers/machines.ts";
import { type TimedLine, timedLines } from "./peers/timed-lines.ts";
import { median, type Report, table } from "./report.ts";

const append = "console=ttyS0 cryptomgr.notests";

/** From the start of the process to the first line of userspace, with Debian's stock cloud kernel. */
export async function boot(rounds: number): Promise<Report> {
  const { kernel, kernelVersion, initramfs } = await guestAssets(console.error);
  await ensureQemu();
  const isFirstLine = (line: string): boolean => line.includes(firstLine);
  const guest = ["-kernel", kernel, "-initrd", initramfs, "-append", append];
  const machines: Record<string, () => Promise<TimedLine[]>> = {
    "cpr (interp)": () =>
      timedLines(
        process.execPath,
        [cprCommand, "run", "-accel", "interp", "-m", "256M", ...guest, "-serial", "stdio"],
        isFirstLine,
      ),
    "QEMU (TCG), microvm": () =>
      timedLines(
        "qemu-system-x86_64",
        [
          ...["-accel", "tcg", "-M", "microvm,acpi=off", "-m", "256", "-display", "none"],
          ...["-serial", "stdio", "-monitor", "none", "-no-reboot", ...guest],
        ],
        isFirstLine,
      ),
  };
  const times = new Map<string, number[]>();
  for (let round = 0; round < rounds; round += 1) {
    for (const [name, run] of Object.entries(machines)) {
      const last = (await run()).at(-1);
      if (last === undefined || !isFirstLine(last.text)) {
        throw new Error(`${name} did not reach userspace`);
      }
      times.set(name, [...(times.get(name) ?? []), last.at / 1000]);
    }
  }
  const ours = median(times.get("cpr (interp)") ?? []);
  const rows = [...times].map(([name, seconds]) => [
    name,
    `${median(seconds).toFixed(2)} s`,
    (ours / median(seconds)).toFixed(2),
  ]);
  return {
    title: `Boot of Debian's ${kernelVersion} to the initramfs's first line, 256 MiB`,
    text: table(["machine", "median", "cpr takes, times"], rows),
  };
}
