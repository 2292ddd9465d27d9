import { rmSync } from "node:fs";
import { join } from "node:path";
import { median, type Report, table } from "../report.ts";
import { consoles } from "./console.ts";
import { disk } from "./disk.ts";
import { network } from "./network.ts";
import { idleProcess } from "./process.ts";
import { MeasuredSystem, machines, memory, type Setting } from "./system.ts";

/** What can be measured. An idle guest comes last: it has used its memory by then. */
const parts: Record<string, (system: MeasuredSystem) => Promise<Record<string, number>>> = {
  disk,
  console: consoles,
  network,
  idle: idleProcess,
};

/** The names of all that can be measured. */
export const partNames: readonly string[] = Object.keys(parts);

/** Figures of a Debian on `cpr` and on QEMU by turns: of those parts, or all if none are named. */
export async function figures(setting: Setting, rounds: number, only: readonly string[]): Promise<Report> {
  const both = machines(setting);
  const wanted = Object.entries(parts).filter(([name]) => only.length === 0 || only.includes(name));
  const results = new Map<string, readonly [cpr: number[], qemu: number[]]>();
  for (let round = 0; round < rounds; round += 1) {
    for (const [index, machine] of both.entries()) {
      await using system = await MeasuredSystem.boot(setting, machine);
      for (const [name, measure] of wanted) {
        for (const [title, value] of Object.entries(await measure(system))) {
          const values = results.get(title) ?? results.set(title, [[], []]).get(title);
          values?.[index as 0 | 1].push(value);
        }
        console.error(`${machine.name}: ${name} measured`);
      }
    }
    rmSync(join(setting.folder, "ram0"), { force: true });
  }
  const rows = [...results].map(([title, [cpr, qemu]]) => {
    const [ours, theirs] = [median(cpr), median(qemu)];
    return [title, ours.toFixed(1), theirs.toFixed(1), (ours / theirs).toFixed(2)];
  });
  return {
    title: `Devices of virtio, with Debian's ${setting.kernelVersion} and systemd, ${memory} MiB, disks on tmpfs (medians)`,
    text: table(["figure", ...both.map(({ name }) => name), "cpr / QEMU"], rows),
  };
}
