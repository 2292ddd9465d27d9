import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { processorTime } from "../../tools/processor-time.ts";
import { since } from "../report.ts";
import type { MeasuredSystem } from "./system.ts";

/** What the process takes of the host for a guest that does nothing. */
export async function idleProcess(system: MeasuredSystem): Promise<Record<string, number>> {
  await delay(5000);
  const [before, start] = [processorTime(system.pid), performance.now()];
  await delay(20_000);
  const idle = (100 * (processorTime(system.pid) - before)) / (since(start) / 1000);
  const beyond = residentBeside(system.pid, join(system.setting.folder, "ram0")) / 1024;
  return { "idle, % of a core": idle, "process beyond RAM, MiB": beyond };
}

/** What of a process is in memory, apart from its mappings of a file, in KiB (proc_pid_smaps(5)). */
function residentBeside(pid: number, file: string): number {
  const mappings = readFileSync(`/proc/${pid}/smaps`, "utf8").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  return mappings
    .filter((mapping) => !mapping.split("\n", 1)[0]?.endsWith(file))
    .reduce((sum, mapping) => sum + Number(/^Rss:\s+(\d+)/m.exec(mapping)?.[1] ?? 0), 0);
}
