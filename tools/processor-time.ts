import { readFileSync } from "node:fs";

/**
 * Processor time that a process has used, in seconds (proc(5): utime and stime in ticks of 10 ms); infinity when there is no such
 * process any more.
 */
export function processorTime(pid: number): number {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return Number.POSITIVE_INFINITY;
  }
  const fields = text.split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
