import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { processorTime } from "../../tools/processor-time.ts";
import { since } from "../report.ts";
import type { MeasuredSystem } from "./system.ts";

/** What the process takes of the host for a guest that does nothing. */
export async function idleProcess(system: MeasuredSystem): Promise<Record<string, number>> {
  await delay(5000);
  const [before, slept, start] = [processorTime(system.pid), sleeps(system.pid), performance.now()];
  await delay(20_000);
  const seconds = since(start) / 1000;
  const idle = (100 * (processorTime(system.pid) - before)) / seconds;
  const wakes = (sleeps(system.pid) - slept) / seconds;
  const beyond = residentBeside(system.pid, join(system.setting.folder, "ram0")) / 1024;
  return { "idle, % of a core": idle, "idle, wake-ups of threads, 1/s": wakes, "process beyond RAM, MiB": beyond };
}

/** How often threads of a process have gone to sleep so far, to be woken again (proc_pid_status(5)). */
function sleeps(pid: number): number {
  return globSync(`/proc/${pid}/task/*/status`).reduce(
    (sum, path) => sum + Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(readFileSync(path, "utf8"))?.[1] ?? 0),
    0,
  );
}

/** What of a process is in memory, apart from its mappings of a file, in KiB (proc_pid_smaps(5)). */
function residentBeside(pid: number, file: string): number {
  const mappings = readFileSync(`/proc/${pid}/smaps`, "utf8").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  return mappings
    .filter((mapping) => !mapping.split("\n", 1)[0]?.endsWith(file))
    .reduce((sum, mapping) => sum + Number(/^Rss:\s+(\d+)/m.exec(mapping)?.[1] ?? 0), 0);
}
