import { buildGuestProgram } from "@cpr/guest-programs";
import { DebianArchiveError } from "../tools/debian-archive.ts";
import { loopMachines } from "./peers/machines.ts";
import { loopRates } from "./peers/timed-lines.ts";
import { type Report, table } from "./report.ts";

/** Guest instructions per second of four loops, beside the peers. */
export async function loops(rounds: number): Promise<Report> {
  const image = buildGuestProgram("loops");
  const best = new Map<string, Map<string, number>>();
  const absent: string[] = [];
  for (let round = 0; round < rounds; round += 1) {
    for (const machine of loopMachines) {
      if (absent.some((line) => line.startsWith(machine.name))) continue;
      try {
        await machine.prepare();
      } catch (error) {
        if (!(error instanceof DebianArchiveError)) throw error;
        absent.push(`${machine.name}: ${error.message}`);
        continue;
      }
      const results = best.get(machine.name) ?? new Map<string, number>();
      for (const [loop, speed] of loopRates(await machine.run(image))) {
        results.set(loop, Math.max(speed, results.get(loop) ?? 0));
      }
      best.set(machine.name, results);
    }
  }
  const names = ["alu", "memory", "calls", "mixed"];
  const ours = best.get(loopMachines[0]?.name ?? "") ?? new Map<string, number>();
  const rows = [...best].map(([machine, results]) => [
    machine,
    ...names.map((name) => {
      const speed = results.get(name) ?? Number.NaN;
      return `${speed.toFixed(0)} (${((ours.get(name) ?? Number.NaN) / speed).toFixed(2)})`;
    }),
  ]);
  return {
    title: "Loops: million guest instructions per second, and in brackets how many times as fast cpr is",
    text: [table(["machine", ...names], rows), ...absent].join("\n"),
  };
}
